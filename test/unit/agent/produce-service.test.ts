import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { limits } from "../../../src/core/limits.ts";
import { readBatchHeader } from "../../../src/format/batch-header.ts";
import { Acks, type Batch } from "../../../src/rpc/gen/streamhouse/v1/producer.ts";
import {
  type BenchAgent,
  batchOf,
  createTopic,
  failureOf,
  fetchRaw,
  readAll,
  send,
  sendAndWait,
  startAgent,
} from "./bench-agent.ts";

const stamp = (baseSequence: number) => ({ producerId: 1, producerEpoch: 0, baseSequence });

const batch = (over: Partial<Batch> = {}): Batch => ({
  topic: "t",
  topicId: "",
  partition: 0,
  records: batchOf(["x"]),
  ...over,
});

const produce = (bench: BenchAgent, batches: Batch[], acks: Acks = Acks.ACKS_DURABLE) =>
  bench.clock.until(bench.agent.api.produce({ acks, timeoutMs: 0, batches }, {}));

async function start(partitions = 2): Promise<{ bench: BenchAgent; topicId: string }> {
  const bench = await startAgent();
  return { bench, topicId: await createTopic(bench, "t", { partitions }) };
}

describe("a produce request with bad input", () => {
  it("is refused whole, names the field, and nothing of it is applied", async () => {
    const { bench, topicId } = await start();
    const good = batch({ partition: 1 });
    const damaged = batchOf(["hello"]);
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
    const magic1 = batchOf(["x"]);
    magic1[16] = 1;
    const cases: readonly (readonly [bad: Batch, code: string, field: string])[] = [
      [batch({ topic: "nope" }), "TOPIC_NOT_FOUND", "batches[1].topic"],
      [batch({ topic: "" }), "INVALID_ARGUMENT", "batches[1].topic"],
      [batch({ partition: 9 }), "PARTITION_OUT_OF_RANGE", "batches[1].partition"],
      [batch({ partition: 1 }), "INVALID_ARGUMENT", "batches[1].partition"],
      [batch({ records: damaged }), "CORRUPT_BATCH", "batches[1].records"],
      [batch({ records: batchOf(["x"]).subarray(0, 40) }), "CORRUPT_BATCH", "batches[1].records"],
      [batch({ records: magic1 }), "UNSUPPORTED_MAGIC", "batches[1].records"],
      [
        batch({ records: new Uint8Array(limits.batchBytesMax + 1) }),
        "BATCH_TOO_LARGE",
        "batches[1].records",
      ],
      [
        batch({ records: batchOf(["x"], undefined, bench.clock.now() + 3_700_000) }),
        "TIMESTAMP_OUT_OF_BOUNDS",
        "batches[1].records",
      ],
    ];
    for (const [bad, code, field] of cases) {
      const error = await failureOf(produce(bench, [good, bad]));
      assert.equal(error.code, code);
      assert.equal(error.field, field);
      assert.equal(error.outcome, "none");
      assert.ok(error.message.length > 20, error.message);
    }
    const empty = await failureOf(produce(bench, []));
    assert.equal(empty.field, "batches");
    const huge = Array.from({ length: 9 }, (_, partition) =>
      batch({ partition, records: new Uint8Array(limits.batchBytesMax) }),
    );
    assert.equal((await failureOf(produce(bench, huge))).code, "REQUEST_TOO_LARGE");
    assert.deepEqual(await readAll(bench, topicId, 1), []);
    await bench.clock.until(bench.agent.stop());
  });

  it("naming an id that the topic's name no longer has is NOT_FOUND", async () => {
    const { bench, topicId } = await start();
    const { results } = await produce(bench, [batch({ topicId })]);
    assert.equal(results[0]?.topicId, topicId);
    await bench.clock.until(bench.agent.api.deleteTopic({ name: "t" }, {}));
    await createTopic(bench, "t");
    assert.equal((await failureOf(produce(bench, [batch({ topicId })]))).code, "TOPIC_NOT_FOUND");
    await bench.clock.until(bench.agent.stop());
  });
});

describe("a produce request of several batches", () => {
  it("has a result for each, in its order; one that fails leaves the others alone", async () => {
    const { bench } = await start();
    await sendAndWait(bench, "t", ["first"], { partition: 1, stamp: stamp(0) });
    const { results } = await produce(bench, [
      batch({ partition: 1, records: batchOf(["gap"], stamp(5)) }),
      batch({ partition: 0, records: batchOf(["fine"], stamp(0)) }),
    ]);
    assert.equal(results[0]?.error?.code, "SEQUENCE_GAP");
    assert.equal(results[0]?.baseOffset, -1);
    assert.equal(results[1]?.error, undefined);
    assert.equal(results[1]?.baseOffset, 0);
    await bench.clock.until(bench.agent.stop());
  });

  it("fails with the first one's error if all of them failed", async () => {
    const { bench } = await start();
    const error = await failureOf(
      produce(bench, [
        batch({ partition: 1, records: batchOf(["x"], stamp(5)) }),
        batch({ partition: 0, records: batchOf(["x"], stamp(6)) }),
      ]),
    );
    assert.equal(error.code, "UNKNOWN_PRODUCER");
    assert.match(error.message, /sequence 5/);
    await bench.clock.until(bench.agent.stop());
  });
});

describe("acks", () => {
  it("durable: written and committed before the answer, with offset and append time", async () => {
    const { bench } = await start();
    bench.sink.fates.push("hold");
    let answered = false;
    const answer = send(bench, "t", ["a"]).finally(() => {
      answered = true;
    });
    await bench.clock.run(100);
    assert.equal(answered, false);
    bench.sink.release();
    const result = await bench.clock.until(answer);
    assert.equal(result.baseOffset, 0);
    assert.ok(result.appendTimeMs > 0);
    assert.equal((await bench.metadata.listFlushes(0, 10)).length, 1);
    await bench.clock.until(bench.agent.stop());
  });

  it("buffered and none: answered when accepted, without offset, and written all the same", async () => {
    const { bench, topicId } = await start();
    for (const acks of [Acks.ACKS_BUFFERED, Acks.ACKS_NONE]) {
      const result = await send(bench, "t", [`acks ${acks}`], { acks });
      assert.equal(result.baseOffset, -1);
      assert.equal(result.appendTimeMs, 0);
      await bench.clock.run(20);
    }
    assert.deepEqual(await readAll(bench, topicId), ["acks 2", "acks 3"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("buffered and none carry no producer id: that is refused, naming the field", async () => {
    const { bench } = await start();
    for (const acks of [Acks.ACKS_BUFFERED, Acks.ACKS_NONE]) {
      const error = await failureOf(send(bench, "t", ["x"], { acks, stamp: stamp(0) }));
      assert.equal(error.code, "INVALID_ARGUMENT");
      assert.equal(error.field, "batches[0].records");
    }
    await bench.clock.until(bench.agent.stop());
  });

  it("none loses a refused batch without a word, buffered says so", async () => {
    const bench = await startAgent({ agent: { bufferBytesMax: 1 } });
    await createTopic(bench, "t");
    bench.sink.fates.push("hold");
    const first = send(bench, "t", ["a"]);
    await bench.clock.run(1);
    const quiet = await send(bench, "t", ["b"], { acks: Acks.ACKS_NONE });
    assert.equal(quiet.error, undefined);
    const loud = await failureOf(send(bench, "t", ["b"], { acks: Acks.ACKS_BUFFERED }));
    assert.equal(loud.code, "OVERLOADED");
    bench.sink.release();
    await bench.clock.until(first);
    await bench.clock.until(bench.agent.stop());
  });
});

describe("produce calls", () => {
  it("are applied in the order of the calls, even when the first must look its topic up", async () => {
    const { bench } = await start();
    // Made behind the agent's back: its name is not known here yet.
    const { id } = await bench.metadata.createTopic({ name: "new", partitions: 1, retentionMs: 0 });
    await bench.clock.until(failureOf(send(bench, "new", ["no lease yet"])));
    await bench.clock.run(3_100);
    await bench.metadata.deleteTopic("t");
    const made = await bench.metadata.createTopic({ name: "t", partitions: 1, retentionMs: 0 });
    const answers = Array.from({ length: 20 }, (_, i) => send(bench, "new", [`${i}`]));
    await bench.clock.until(Promise.all(answers));
    assert.deepEqual(
      await readAll(bench, id),
      Array.from({ length: 20 }, (_, i) => `${i}`),
    );
    assert.notEqual(made.id, id);
    await bench.clock.until(bench.agent.stop());
  });

  it("that come together are flushed together: one chunk, one commit", async () => {
    const { bench } = await start();
    const answers = [0, 1].flatMap((partition) =>
      ["a", "b", "c"].map((value) => send(bench, "t", [value], { partition })),
    );
    await bench.clock.until(Promise.all(answers));
    assert.equal(bench.sink.sequences.length, 1);
    const [flush] = await bench.metadata.listFlushes(0, 10);
    assert.equal(flush?.entries.length, 2);
    await bench.clock.until(bench.agent.stop());
  });

  it("store the very bytes that were sent, but for base offset and lease epoch", async () => {
    const { bench, topicId } = await start();
    await sendAndWait(bench, "t", ["before"]);
    const records = batchOf(["same", "bytes"], stamp(0));
    const sent = records.slice();
    await produce(bench, [batch({ records })]);
    const { batches } = await fetchRaw(bench, topicId, 1);
    const stored = batches[0]?.records ?? new Uint8Array(0);
    assert.deepEqual(stored.subarray(16), sent.subarray(16));
    const header = readBatchHeader(stored);
    assert.equal(header.baseOffset, 1);
    assert.equal(header.partitionLeaderEpoch, 1);
    await bench.clock.until(bench.agent.stop());
  });

  it("repeated get the offset and append time of the first time", async () => {
    const { bench } = await start();
    const first = await bench.clock.until(send(bench, "t", ["a"], { stamp: stamp(0) }));
    await bench.clock.run(5_000);
    const again = await send(bench, "t", ["a"], { stamp: stamp(0) });
    assert.deepEqual(again, { ...first, duplicate: true });
    await bench.clock.until(bench.agent.stop());
  });
});

describe("an agent that is not started, or stopped", () => {
  it("refuses calls as something to try again, elsewhere or later", async () => {
    const bench = await startAgent();
    await bench.clock.until(bench.agent.stop());
    const error = await failureOf(bench.agent.api.listTopics({}, {}));
    assert.equal(error.code, "AGENT_DRAINING");
    assert.equal(error.retriable, true);
    assert.equal((await failureOf(bench.agent.start())).code, "CLOSED");
  });
});
