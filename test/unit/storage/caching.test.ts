import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { type CachingStore, createCachingStore } from "../../../src/storage/caching.ts";
import { createMemoryStore } from "../../../src/storage/memory.ts";
import type { ByteRange, ObjectStore } from "../../../src/storage/object-store.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import type { MetricRegistry } from "../../../src/telemetry/cells.ts";
import type { InstrumentDescriptor } from "../../../src/telemetry/instrument.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import { settle } from "../../../src/testing/manual-clock.ts";

const MIB = 1_048_576;

interface Get {
  readonly key: string;
  readonly range: ByteRange | undefined;
  readonly signal: AbortSignal | undefined;
}

interface Bench {
  readonly store: CachingStore;
  readonly inner: ObjectStore;
  readonly gets: Get[];
  readonly metrics: MetricRegistry;
  /** Reads wait for `go` while this is set. */
  hold: boolean;
  /** The next reads fail with these. */
  readonly failures: StreamHouseError[];
  go(): void;
}

function bench(
  options: { cacheBytesMax?: number; readsMax?: number; blockBytes?: number } = {},
): Bench {
  const inner = createMemoryStore();
  const metrics = createMetricRegistry();
  const gets: Get[] = [];
  let waiting: (() => void)[] = [];
  const counted: ObjectStore = {
    kind: "memory",
    async get(key, range, signal) {
      gets.push({ key, range, signal });
      if (made.hold) await new Promise<void>((resolve) => waiting.push(resolve));
      const failure = made.failures.shift();
      if (failure !== undefined) throw failure;
      return inner.get(key, range);
    },
    put: (...args) => inner.put(...args),
    head: (...args) => inner.head(...args),
    list: (...args) => inner.list(...args),
    delete: (...args) => inner.delete(...args),
    close: () => inner.close(),
  };
  const { cacheBytesMax = 32 * MIB, readsMax = 16, blockBytes } = options;
  const store = createCachingStore(
    { store: counted, metrics },
    { cacheBytesMax, readsMax, blockBytes },
  );
  const made: Bench = {
    ...{ store, inner, gets, metrics, hold: false, failures: [] },
    go() {
      made.hold = false;
      for (const it of waiting.splice(0)) it();
      waiting = [];
    },
  };
  return made;
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7) & 0xff);
}

function measuredOf(metrics: MetricRegistry, descriptor: InstrumentDescriptor): number {
  const attributes = { cache: "segment" };
  return descriptor.kind === "gauge"
    ? metrics.gauge(descriptor, attributes).value
    : metrics.counter(descriptor, attributes).value;
}

function failure(code: "STORE_UNAVAILABLE" | "OBJECT_NOT_FOUND"): StreamHouseError {
  return new StreamHouseError({ code, kind: "unavailable", message: "injected" });
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (StreamHouseError.is(error)) return error.code;
    throw error;
  }
  return "ok";
}

const chunk = (length: number) => ({ key: "a", position: 0, length });

describe("a store with a cache in front", () => {
  it("reads a small chunk once for all of its shares", async () => {
    const { gets, inner, metrics, store } = bench();
    await inner.put("a", [pattern(100_000)]);
    for (let i = 0; i < 100; i++) {
      const bytes = await store.read(chunk(100_000), { start: i * 1_000, length: 1_000 }, "this");
      assert.deepEqual(bytes, pattern(100_000).subarray(i * 1_000, (i + 1) * 1_000));
    }
    assert.equal(gets.length, 1);
    assert.equal(measuredOf(metrics, catalogue.cacheMisses), 1);
    assert.equal(measuredOf(metrics, catalogue.cacheHits), 99);
    assert.equal(measuredOf(metrics, catalogue.cacheBytes), 100_000);
  });

  it("reads a share of a large chunk alone, and the whole when a second one is wanted", async () => {
    const { gets, inner, store } = bench();
    const length = 3 * MIB;
    await inner.put("a", [pattern(length)]);
    for (let i = 0; i < 50; i++) {
      await store.read(chunk(length), { start: i * 10_000, length: 10_000 }, "this");
    }
    assert.deepEqual(
      gets.map((it) => it.range),
      [
        { start: 0, length: 10_000 },
        { start: 0, length },
      ],
    );
  });

  it("reads a long segment block by block, each once, across their borders too", async () => {
    const { gets, inner, store } = bench({ blockBytes: 100_000 });
    const length = 1_050_000;
    await inner.put("a", [pattern(length)]);
    for (let start = 0; start < length; start += 30_000) {
      const range = { start, length: Math.min(30_000, length - start) };
      const bytes = await store.read(chunk(length), range, "more");
      assert.deepEqual(bytes, pattern(length).subarray(start, start + range.length));
    }
    assert.equal(gets.length, 11);
  });

  it("asks for nothing twice at the same time", async () => {
    const it = bench();
    await it.inner.put("a", [pattern(1_000)]);
    it.hold = true;
    const reads = Array.from({ length: 20 }, (_, i) =>
      it.store.read(chunk(1_000), { start: i * 10, length: 10 }, "this"),
    );
    await settle(2);
    it.go();
    for (const [i, read] of reads.entries()) {
      assert.deepEqual(await read, pattern(1_000).subarray(i * 10, i * 10 + 10));
    }
    assert.equal(it.gets.length, 1);
    const whole = [it.store.get("a"), it.store.get("a")];
    for (const bytes of await Promise.all(whole)) assert.equal(bytes.length, 1_000);
    assert.equal(it.gets.length, 2);
  });

  it("does not keep a failure: the next one reads again", async () => {
    const it = bench();
    await it.inner.put("a", [pattern(10)]);
    it.failures.push(failure("STORE_UNAVAILABLE"));
    const range = { start: 0, length: 10 };
    const two = [1, 2].map(() => codeOf(it.store.get("a", range)));
    assert.deepEqual(await Promise.all(two), ["STORE_UNAVAILABLE", "STORE_UNAVAILABLE"]);
    assert.equal(await codeOf(it.store.get("a", range)), "ok");
    assert.equal(it.gets.length, 2);
  });

  it("lets one caller go without failing the others, and ends a read that nobody waits for", async () => {
    const it = bench();
    await it.inner.put("a", [pattern(10)]);
    it.hold = true;
    const range = { start: 0, length: 10 };
    const gone = new AbortController();
    const going = codeOf(it.store.get("a", range, gone.signal));
    const staying = it.store.get("a", range);
    await settle(1);
    gone.abort();
    assert.equal(await going, "ABORTED");
    assert.equal(it.gets[0]?.signal?.aborted, false);
    it.go();
    assert.equal((await staying).length, 10);

    await it.store.delete(["a"]);
    await it.inner.put("a", [pattern(10)]);
    it.hold = true;
    const both = [new AbortController(), new AbortController()];
    const reads = both.map((one) => codeOf(it.store.get("a", range, one.signal)));
    await settle(1);
    for (const one of both) one.abort();
    assert.deepEqual(await Promise.all(reads), ["ABORTED", "ABORTED"]);
    assert.equal(it.gets[1]?.signal?.aborted, true);
    // Nobody joins a read that is being aborted.
    it.hold = false;
    assert.equal((await it.store.get("a", range)).length, 10);
    assert.equal(it.gets.length, 3);
    it.go();
  });

  it("lets a deleted object go, and keeps nothing of a read that was under way", async () => {
    const it = bench();
    await it.inner.put("a", [pattern(10)]);
    const range = { start: 0, length: 10 };
    await it.store.get("a", range);
    it.hold = true;
    const reading = it.store.get("a", { start: 0, length: 5 });
    await it.store.delete(["a"]);
    it.go();
    await reading;
    assert.equal(it.store.cachedBytes, 0);
    assert.equal(await codeOf(it.store.get("a", range)), "OBJECT_NOT_FOUND");
    assert.equal(measuredOf(it.metrics, catalogue.cacheBytes), 0);
  });

  it("answers what an object that was cut short still has", async () => {
    const { inner, store } = bench();
    await inner.put("a", [pattern(60)]);
    const first = await store.read(chunk(100), { start: 0, length: 50 }, "more");
    assert.deepEqual(first, pattern(60).subarray(0, 50));
    const code = await codeOf(store.read(chunk(100), { start: 50, length: 50 }, "more"));
    assert.equal(code, "CORRUPT_SEGMENT");
  });

  it("holds its limits: memory, and reads at once", async () => {
    const it = bench({ cacheBytesMax: 1_000, readsMax: 3 });
    for (let i = 0; i < 20; i++) await it.inner.put(`${i}`, [pattern(100)]);
    it.hold = true;
    const reads = Array.from({ length: 20 }, (_, i) =>
      it.store.get(`${i}`, { start: 0, length: 100 }),
    );
    await settle(5);
    assert.equal(it.gets.length, 3);
    it.go();
    await Promise.all(reads);
    assert.equal(it.store.cachedBytes, 1_000);
    assert.equal(measuredOf(it.metrics, catalogue.cacheEvictions), 10);
    // Without memory it reads what is asked for and no more.
    const none = bench({ cacheBytesMax: 0 });
    await none.inner.put("a", [pattern(100)]);
    await none.store.read(chunk(100), { start: 10, length: 10 }, "more");
    assert.deepEqual(none.gets[0]?.range, { start: 10, length: 10 });
    assert.equal(none.store.cachedBytes, 0);
  });

  it("answers the same bytes as the store, whatever is read in whatever order", async () => {
    const read = fc.record({
      start: fc.nat(900),
      length: fc.integer({ min: 1, max: 400 }),
      wanted: fc.constantFrom("this" as const, "more" as const),
      plain: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(read, { maxLength: 20 }),
        fc.integer({ min: 0, max: 2_000 }),
        fc.integer({ min: 1, max: 500 }),
        async (reads, cacheBytesMax, blockBytes) => {
          const { inner, store } = bench({ cacheBytesMax, blockBytes });
          const object = pattern(1_300);
          await inner.put("a", [object]);
          const answers = reads.map(({ length, plain, start, wanted }) => {
            const range = { start, length };
            return plain ? store.get("a", range) : store.read(chunk(1_300), range, wanted);
          });
          for (const [i, { start, length }] of reads.entries()) {
            assert.deepEqual(await answers[i], object.subarray(start, start + length));
          }
          assert.ok(store.cachedBytes <= cacheBytesMax);
        },
      ),
      { numRuns: 60 },
    );
  });
});
