import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { createMemoryStore } from "../../../src/storage/memory.ts";
import { createObjectSink } from "../../../src/storage/object-sink.ts";
import type { ObjectStore } from "../../../src/storage/object-store.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { createFaultyStore, unavailable } from "./faulty-store.ts";
import { failure } from "./scratch.ts";

const RUN = "01K0000000000000000000000A";
const flush = (sequence: number) => ({ runId: RUN, sequence });
const KEY = `prod/segments/2026-05-01/${RUN}-000000000001.seg`;

function open(put?: (inner: ObjectStore) => ObjectStore["put"]) {
  const clock = new ManualClock({ startMs: Date.UTC(2026, 4, 1) });
  const inner = createMemoryStore({ clock });
  const store: ObjectStore = {
    kind: "memory",
    put: put?.(inner) ?? inner.put.bind(inner),
    get: inner.get.bind(inner),
    head: inner.head.bind(inner),
    list: inner.list.bind(inner),
    delete: inner.delete.bind(inner),
    close: inner.close.bind(inner),
  };
  return { inner, sink: createObjectSink({ store, clock }, { prefix: "prod" }) };
}

describe("object sink", () => {
  it("puts each chunk under a key of day, run and sequence, below the prefix", async () => {
    const { sink } = open();
    assert.equal(sink.concurrency, 4);
    const location = await sink.append([new Uint8Array(5), new Uint8Array(6)], flush(1));
    assert.deepEqual(location, { key: KEY, position: 0, length: 11 });
  });

  it("names each object after the run that sealed its flush", async () => {
    const { sink } = open();
    const next = "01K0000000000000000000000B";
    await sink.append([new Uint8Array(5)], flush(1));
    const { key } = await sink.append([new Uint8Array(5)], { runId: next, sequence: 2 });
    assert.equal(key, `prod/segments/2026-05-01/${next}-000000000002.seg`);
  });

  it("takes its own key being there for success: the answer to an earlier attempt was lost", async () => {
    const { sink } = open((inner) => async (key, parts) => {
      await inner.put(key, parts);
      return inner.put(key, parts);
    });
    assert.deepEqual(await sink.append([new Uint8Array(5)], flush(1)), {
      key: KEY,
      position: 0,
      length: 5,
    });
  });

  it("does not take another object's bytes for its own", async () => {
    const { inner, sink } = open();
    await inner.put(KEY, [new Uint8Array(4)]);
    await assert.rejects(sink.append([new Uint8Array(5)], flush(1)), failure("OBJECT_EXISTS"));
    await inner.put(KEY.replace("1.seg", "2.seg"), [new Uint8Array(5).fill(1)]);
    await assert.rejects(sink.append([new Uint8Array(5)], flush(2)), failure("OBJECT_EXISTS"));
  });

  it("passes on what the store says otherwise", async () => {
    const { sink } = open(() => async () => {
      const code = "STORE_UNAVAILABLE";
      const message = "injected";
      throw new StreamHouseError({ code, kind: "unavailable", message, outcome: "unknown" });
    });
    const append = sink.append([new Uint8Array(5)], flush(1));
    await assert.rejects(append, failure("STORE_UNAVAILABLE", "unknown"));
  });
});

describe("object sink over a slow store", () => {
  const second = KEY.replace(".seg", "-2.seg");
  const parts = [Uint8Array.of(1, 2), Uint8Array.of(3)];

  function slow() {
    const clock = new ManualClock({ startMs: Date.UTC(2026, 4, 1) });
    const inner = createFaultyStore(clock);
    const metrics = createMetricRegistry();
    const sink = createObjectSink({ store: inner, clock, metrics }, { prefix: "prod" });
    const hedges = (outcome: string) => metrics.counter(catalogue.storeHedges, { outcome }).value;
    return { clock, inner, sink, hedges };
  }

  it("begins a second put under another key after a second, and takes what comes first", async () => {
    const { clock, inner, sink, hedges } = slow();
    inner.faults.push("hang", 300);
    const location = await clock.until(sink.append(parts, flush(1)));
    assert.deepEqual(location, { key: second, position: 0, length: 3 });
    assert.equal(clock.monotonic(), 1_300);
    assert.deepEqual(await inner.inner.get(second), Uint8Array.of(1, 2, 3));
    // The first was ended: nothing of the append goes on.
    await sink.close();
    assert.equal(await inner.inner.head(KEY), undefined);
    assert.equal(clock.pending, 0);
    assert.deepEqual([hedges("first"), hedges("second"), hedges("failed")], [0, 1, 0]);
  });

  it("leaves the loser to the sweeper, even if it lands after all", async () => {
    const { clock, inner, sink } = slow();
    inner.faults.push("land");
    assert.equal((await clock.until(sink.append(parts, flush(1)))).key, second);
    await sink.close();
    assert.deepEqual(await inner.inner.get(KEY), await inner.inner.get(second));
    const next = await sinkOf(inner, clock).append(parts, flush(2));
    assert.equal(next.key, KEY.replace("1.seg", "2.seg"));
  });

  it("keeps to the first put where that is sooner after all", async () => {
    const { clock, inner, sink, hedges } = slow();
    inner.faults.push(1_500, 900);
    assert.equal((await clock.until(sink.append(parts, flush(1)))).key, KEY);
    await sink.close();
    assert.equal(await inner.inner.head(second), undefined);
    assert.equal(hedges("first"), 1);
  });

  it("begins no second put for one that is answered in time, and never over a local store", async () => {
    const { clock, inner, sink } = slow();
    inner.faults.push(999);
    assert.equal((await clock.until(sink.append(parts, flush(1)))).key, KEY);
    await clock.run(5_000);
    assert.deepEqual(inner.calls, [`put ${KEY}`]);
    const local = createFaultyStore(clock, false);
    local.faults.push(60_000);
    await clock.until(createObjectSink({ store: local, clock }).append(parts, flush(1)));
    assert.equal(local.calls.length, 1);
  });

  it("hedges one append at a time: a store that is slow for all gets no second load", async () => {
    const { clock, inner, sink } = slow();
    inner.faults.push(3_000, 3_000, 3_000, 3_000);
    await clock.until(Promise.all([1, 2, 3].map((it) => sink.append(parts, flush(it)))));
    assert.equal(inner.calls.filter((it) => it.endsWith("-2.seg")).length, 1);
    inner.faults.push("hang");
    await clock.until(sink.append(parts, flush(4)));
    assert.equal(inner.calls.filter((it) => it.endsWith("-2.seg")).length, 2);
  });

  it("fails only when both have failed, with what may have been applied first", async () => {
    const { clock, inner, sink, hedges } = slow();
    inner.faults.push("hang", unavailable({ outcome: "none" }));
    const caller = new AbortController();
    const append = sink.append(parts, flush(1), caller.signal);
    let settled = false;
    const settle = () => {
      settled = true;
    };
    append.then(settle, settle);
    await clock.run(2_000);
    assert.equal(settled, false);
    caller.abort();
    await assert.rejects(append, failure("ABORTED", "unknown"));
    await sink.close();
    assert.equal(hedges("failed"), 1);
  });

  it("ends both when its caller gives up, and begins none afterwards", async () => {
    for (const afterMs of [100, 1_100]) {
      const { clock, inner, sink } = slow();
      inner.faults.push("hang", "hang");
      const caller = new AbortController();
      const append = sink.append(parts, flush(1), caller.signal);
      await clock.run(afterMs);
      caller.abort();
      await assert.rejects(append, failure("ABORTED", "unknown"));
      await clock.run(5_000);
      assert.equal(inner.calls.length, afterMs < 1_000 ? 1 : 2);
      assert.equal(clock.pending, 0);
    }
  });

  it("writes through what is put around its store, and waits for that when it is closed", async () => {
    const { clock, inner, sink } = slow();
    const around: string[] = [];
    const through = sink.through?.((store) => {
      const put: ObjectStore["put"] = async (...args) => {
        around.push(args[0]);
        return store.put(...args);
      };
      return { ...inner, put };
    }, createMetricRegistry());
    inner.faults.push(500);
    const append = through?.append(parts, flush(1));
    let isClosed = false;
    const closing = sink.close().then(() => {
      isClosed = true;
    });
    await clock.run(400);
    assert.equal(isClosed, false);
    await clock.run(100);
    await closing;
    assert.equal((await append)?.key, KEY);
    assert.deepEqual(around, [KEY]);
    await assert.rejects(through?.append(parts, flush(2)) ?? assert.fail(), failure("CLOSED"));
  });

  it("reads the object and compares where the store tells no checksum", async () => {
    const { clock, inner } = slow();
    const head: ObjectStore["head"] = async (key, signal) => {
      const found = await inner.head(key, signal);
      return found && { key, size: found.size, modifiedAtMs: found.modifiedAtMs };
    };
    const sink = createObjectSink({ store: { ...inner, head }, clock });
    const plain = KEY.replace("prod/", "");
    await inner.inner.put(plain, [Uint8Array.of(1, 2, 3)]);
    assert.equal((await sink.append(parts, flush(1))).key, plain);
    assert.deepEqual(inner.calls.at(-1), `get ${plain}`);
    const other = sink.append([Uint8Array.of(1, 2, 4)], flush(1));
    await assert.rejects(other, failure("OBJECT_EXISTS"));
  });
});

function sinkOf(store: ObjectStore, clock: ManualClock) {
  return createObjectSink({ store, clock }, { prefix: "prod" });
}
