import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createRetryingStore, type RetryingOptions } from "../../../src/storage/retrying.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import { objectStoreContract } from "../../../src/testing/contracts/object-store.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { createFaultyStore, unavailable } from "./faulty-store.ts";
import { failure } from "./scratch.ts";

/** In the middle of the jitter. */
const random = (into: Uint8Array<ArrayBuffer>) => into.fill(128);

function open(options: RetryingOptions = {}) {
  const clock = new ManualClock();
  const inner = createFaultyStore(clock);
  const metrics = createMetricRegistry();
  const store = createRetryingStore({ store: inner, clock, random, metrics }, options);
  const retries = (operation: string, outcome = "STORE_UNAVAILABLE") =>
    metrics.counter(catalogue.storeRetries, { operation, outcome }).value;
  return { clock, inner, store, retries };
}

objectStoreContract("retrying", { create: async () => open().store });

describe("retrying store", () => {
  it("tries each operation again until it works, and counts how often", async () => {
    const { clock, inner, store, retries } = open();
    inner.faults.push("fail", "fail", undefined, "fail", undefined, "fail", undefined, "fail");
    await clock.until(store.put("a", [Uint8Array.of(1)]));
    assert.deepEqual(await clock.until(store.get("a")), Uint8Array.of(1));
    assert.equal((await clock.until(store.head("a")))?.size, 1);
    await clock.until(store.delete(["a"]));
    assert.equal(await inner.inner.head("a"), undefined);
    const counts = ["put", "get", "head", "delete"].map((it) => retries(it));
    assert.deepEqual(counts, [2, 1, 1, 1]);
    assert.equal(clock.pending, 0);
  });

  it("waits longer each time, up to a limit, and at least as long as the store asks for", async () => {
    const { clock, inner, store } = open({ backoff: { baseMs: 100, maxMs: 300 } });
    const begun: number[] = [];
    const seen = { push: (it: number) => begun.push(it) };
    const faults = [
      unavailable(),
      unavailable(),
      unavailable(),
      unavailable({ retryAfterMs: 950 }),
    ];
    inner.faults.push(...faults);
    const length = inner.calls.length;
    const head = store.head("a");
    for (let at = 0; at < 2_000; at += 10) {
      while (begun.length < inner.calls.length - length) seen.push(clock.monotonic());
      await clock.run(10);
    }
    await head;
    assert.deepEqual(
      begun.map((it) => Math.round(it / 100)),
      [0, 1, 3, 6, 16],
    );
  });

  it("does not try again what another attempt cannot mend", async () => {
    const { inner, store } = open();
    const errors = [
      unavailable({ retriable: false }),
      unavailable({ code: "STORE_FULL" }),
      unavailable({ code: "CORRUPT_SEGMENT", kind: "corrupt" }),
    ];
    for (const error of errors) {
      inner.faults.push(error);
      await assert.rejects(store.get("a"), failure(error.code));
    }
    await assert.rejects(store.get("none"), failure("OBJECT_NOT_FOUND"));
    assert.equal(inner.calls.length, 4);
  });

  it("gives up at its deadline, also when an attempt hangs, and leaves nothing behind", async () => {
    const { clock, inner, store } = open({ deadlineMs: 5_000 });
    inner.faults.push(...Array.from({ length: 100 }, () => "fail" as const));
    await assert.rejects(clock.until(store.put("a", [])), failure("STORE_UNAVAILABLE", "none"));
    assert.ok(clock.monotonic() <= 5_000 && inner.calls.length > 3, `${clock.monotonic()}`);
    inner.faults.length = 0;
    inner.faults.push("hang");
    const before = clock.monotonic();
    const hanging = store.put("a", []);
    const mention = "5000 ms";
    await assert.rejects(clock.until(hanging), failure("STORE_UNAVAILABLE", "unknown", mention));
    assert.equal(clock.monotonic() - before, 5_000);
    assert.equal(clock.pending, 0);
  });

  it("ends at once when its caller gives up, in a pause as in an attempt", async () => {
    const { clock, inner, store } = open({ backoff: { baseMs: 1_000, maxMs: 1_000 } });
    for (const fault of ["fail", "hang"] as const) {
      inner.faults.push(fault);
      const caller = new AbortController();
      const put = store.put("a", [], caller.signal);
      await clock.run(10);
      caller.abort(new Error("enough"));
      await assert.rejects(put, failure("ABORTED", fault === "fail" ? "none" : "unknown"));
    }
    assert.equal(clock.pending, 0);
    assert.equal(inner.calls.length, 2);
  });

  it("says that a put may have been applied if any of its attempts may have been", async () => {
    const { clock, inner, store } = open();
    inner.faults.push("lose");
    await assert.rejects(clock.until(store.put("a", [])), failure("OBJECT_EXISTS", "unknown"));
    inner.faults.push("lose", unavailable({ retriable: false }));
    const put = clock.until(store.put("b", []));
    await assert.rejects(put, failure("STORE_UNAVAILABLE", "unknown"));
    await assert.rejects(store.put("b", []), failure("OBJECT_EXISTS", "none"));
  });

  it("goes on with a listing behind the last object it gave, each once", async () => {
    const { clock, inner, store, retries } = open();
    const keys = ["a", "b", "c", "d", "e"];
    for (const key of keys) await inner.inner.put(key, []);
    inner.faults.push("fail", "fail");
    const all = async () => {
      const seen: string[] = [];
      for await (const { key } of store.list("")) seen.push(key);
      return seen;
    };
    assert.deepEqual(await clock.until(all()), keys);
    assert.deepEqual(inner.calls, ["list ", "list b", "list d"]);
    assert.equal(retries("list"), 2);
  });
});
