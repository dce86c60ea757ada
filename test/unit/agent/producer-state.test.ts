import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ProducerStates } from "../../../src/agent/producer-state.ts";
import {
  decodeProducerStates,
  encodeProducerStates,
} from "../../../src/agent/producer-state-codec.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { limits } from "../../../src/core/limits.ts";

interface TestBatch {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
  baseOffset: number;
}

const batch = (baseSequence: number, recordCount = 1, producerEpoch = 0, producerId = 7) => ({
  producerId,
  producerEpoch,
  baseSequence,
  recordCount,
  baseOffset: -1,
});

class Bench {
  readonly states = new ProducerStates<TestBatch>("t/0");
  #offset = 100;

  begin(it: TestBatch): TestBatch {
    assert.equal(this.states.check(it).kind, "append");
    this.states.begin(it);
    return it;
  }

  commit(it: TestBatch, nowMs = 1_000): void {
    it.baseOffset = this.#offset;
    this.#offset += it.recordCount;
    this.states.commit(it, nowMs);
  }

  write(it: TestBatch, nowMs = 1_000): void {
    this.begin(it);
    this.commit(it, nowMs);
  }

  refusal(it: TestBatch): StreamHouseError {
    const verdict = this.states.check(it);
    assert.ok(verdict.kind === "refused", verdict.kind);
    return verdict.error;
  }
}

describe("sequences of a producer", () => {
  it("must follow each other, pending batches counted", () => {
    const bench = new Bench();
    bench.begin(batch(0, 3));
    bench.begin(batch(3, 2));
    const gap = bench.refusal(batch(6));
    assert.equal(gap.code, "SEQUENCE_GAP");
    assert.equal(gap.retriable, true);
    assert.equal(gap.outcome, "none");
    bench.begin(batch(5));
  });

  it("begin at 0; an unknown producer with another one is told so, and may try again", () => {
    const error = new Bench().refusal(batch(5));
    assert.equal(error.code, "UNKNOWN_PRODUCER");
    assert.equal(error.retriable, true);
  });

  it("that were sent before get the pending batch, or the offset of the first time", () => {
    const bench = new Bench();
    const first = bench.begin(batch(0, 3));
    const pending = bench.states.check(batch(0, 3));
    assert.ok(pending.kind === "pending" && pending.batch === first);
    bench.commit(first);
    assert.deepEqual(bench.states.check(batch(0, 3)), { kind: "duplicate", baseOffset: 100 });
  });

  it("are remembered for the last five batches; older repetitions are refused for good", () => {
    const bench = new Bench();
    for (let i = 0; i < 6; i++) bench.write(batch(i));
    for (let i = 1; i < 6; i++) assert.equal(bench.states.check(batch(i)).kind, "duplicate");
    const error = bench.refusal(batch(0));
    assert.equal(error.code, "SEQUENCE_GAP");
    assert.equal(error.retriable, false);
  });

  it("that are cut differently than the first time are no duplicates", () => {
    const bench = new Bench();
    bench.write(batch(0, 3));
    assert.equal(bench.refusal(batch(0, 2)).code, "SEQUENCE_GAP");
    assert.equal(bench.refusal(batch(1, 2)).code, "SEQUENCE_GAP");
  });

  it("wrap from 2^31 - 1 to 0", () => {
    const bench = new Bench();
    bench.write(batch(0, 2_147_483_647));
    bench.write(batch(2_147_483_647, 3));
    bench.write(batch(2));
    assert.equal(bench.states.check(batch(2_147_483_647, 3)).kind, "duplicate");
  });

  it("begin at 0 again with a newer epoch, and an older epoch is fenced from its first batch on", () => {
    const bench = new Bench();
    bench.write(batch(0));
    assert.equal(bench.refusal(batch(1, 1, 1)).code, "SEQUENCE_GAP");
    bench.begin(batch(0, 1, 1));
    const error = bench.refusal(batch(1, 1, 0));
    assert.equal(error.code, "PRODUCER_FENCED");
    assert.equal(error.kind, "fenced");
    assert.equal(error.retriable, false);
  });

  it("of a failed batch are free again, and the batches behind it go with it", () => {
    const bench = new Bench();
    bench.write(batch(0));
    const failing = bench.begin(batch(1));
    const followers = [bench.begin(batch(2)), bench.begin(batch(3))];
    const nextEpoch = bench.begin(batch(0, 1, 1));
    assert.deepEqual(bench.states.drop(failing), followers);
    assert.deepEqual(bench.states.drop(nextEpoch), []);
    bench.begin(batch(1));
  });

  it("of a producer that never committed are forgotten with its failed batch", () => {
    const bench = new Bench();
    bench.states.drop(bench.begin(batch(0)));
    assert.equal(bench.states.size, 0);
  });

  it("are forgotten 24 hours after the last write", () => {
    const bench = new Bench();
    bench.write(batch(0), 5_000);
    bench.states.expire(5_000 + limits.producerIdExpiryMs);
    assert.equal(bench.states.size, 1);
    bench.states.expire(5_001 + limits.producerIdExpiryMs);
    assert.equal(bench.states.size, 0);
  });

  it("are kept for a limited number of producers: the longest unused one goes first", () => {
    const bench = new Bench();
    for (let id = 0; id < limits.producersPerPartitionMax; id++) {
      bench.write(batch(0, 1, 0, id), 10_000 - id);
    }
    const last = limits.producersPerPartitionMax - 1;
    bench.write(batch(0, 1, 0, 5_000));
    assert.equal(bench.states.size, limits.producersPerPartitionMax);
    assert.equal(bench.refusal(batch(1, 1, 0, last)).code, "UNKNOWN_PRODUCER");
    assert.equal(bench.states.check(batch(1, 1, 0, 0)).kind, "append");
  });
});

describe("packed producer state", () => {
  const plain = { noNullPrototype: true };
  const remembered = fc.record(
    {
      baseSequence: fc.nat({ max: 2_147_483_647 }),
      recordCount: fc.integer({ min: 1, max: limits.recordsPerBatchMax }),
      baseOffset: fc.maxSafeNat(),
    },
    plain,
  );
  const producer = fc.record(
    {
      producerId: fc.maxSafeNat(),
      producerEpoch: fc.nat({ max: 32_767 }),
      lastWriteMs: fc.nat({ max: 4_000_000_000_000 }),
      recent: fc.array(remembered, { minLength: 1, maxLength: 5 }),
    },
    plain,
  );

  it("comes back as it was", () => {
    fc.assert(
      fc.property(fc.array(producer, { maxLength: 20 }), (producers) => {
        assert.deepEqual(decodeProducerStates(encodeProducerStates(producers)), producers);
      }),
      { numRuns: 200 },
    );
  });

  it("that is damaged is refused as corrupt, whatever the bytes", () => {
    const whole = encodeProducerStates([
      {
        producerId: 300,
        producerEpoch: 2,
        lastWriteMs: 1_700_000_000_000,
        recent: [{ baseSequence: 1, recordCount: 2, baseOffset: 3 }],
      },
    ]);
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.nat({ max: whole.length - 1 }).map((n) => whole.slice(0, n)),
      fc.uint8Array({ minLength: 1, maxLength: 3 }).map((more) => {
        return Uint8Array.from([...whole, ...more]);
      }),
    );
    fc.assert(
      fc.property(hostile, (bytes) => {
        try {
          decodeProducerStates(bytes);
        } catch (error) {
          assert.ok(StreamHouseError.is(error) && error.kind === "corrupt", String(error));
        }
      }),
      { numRuns: 500 },
    );
  });

  it("holds what is committed with a flush, and nothing that is pending behind it", () => {
    const bench = new Bench();
    bench.write(batch(0, 2));
    const inFlush = bench.begin(batch(2, 2));
    bench.begin(batch(4, 2));
    inFlush.baseOffset = 102;
    const packed = bench.states.packedWith([inFlush], 9_000);
    const [state] = decodeProducerStates(packed);
    assert.deepEqual(
      state?.recent.map((it) => it.baseOffset),
      [100, 102],
    );
    assert.equal(state?.lastWriteMs, 9_000);
    // A new holder goes on from there.
    const taken = new ProducerStates<TestBatch>("t/0", packed);
    assert.deepEqual(taken.check(batch(2, 2)), { kind: "duplicate", baseOffset: 102 });
    assert.equal(taken.check(batch(4, 2)).kind, "append");
  });
});
