import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { createMemoryStore } from "../../../src/storage/memory.ts";
import { createObjectSink } from "../../../src/storage/object-sink.ts";
import type { ObjectStore } from "../../../src/storage/object-store.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
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
