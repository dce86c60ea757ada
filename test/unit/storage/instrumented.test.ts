import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { instrumentSink, instrumentStore } from "../../../src/storage/instrumented.ts";
import { createMemoryStore } from "../../../src/storage/memory.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { CounterCell, HistogramCell, type MetricRegistry } from "../../../src/telemetry/cells.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { MemoryStore, TestSink } from "../agent/memory-store.ts";

describe("instrumented store", () => {
  it("counts each operation once, by outcome, with its duration", async () => {
    const clock = new ManualClock();
    const metrics = createMetricRegistry();
    const inner = createMemoryStore({ clock });
    const slow = {
      ...inner,
      kind: inner.kind,
      put: inner.put.bind(inner),
      get: inner.get.bind(inner),
      list: inner.list.bind(inner),
      delete: inner.delete.bind(inner),
      close: inner.close.bind(inner),
      head: async (key: string) => {
        clock.advance(250);
        return inner.head(key);
      },
    };
    const store = instrumentStore(slow, { metrics, clock });
    assert.equal(store.kind, "memory");
    await store.put("a", []);
    await store.put("b", []);
    await assert.rejects(store.put("a", []));
    await assert.rejects(store.get("none"));
    await store.head("a");
    for await (const _ of store.list("")) break;
    for await (const _ of store.list("")) assert.ok(_);
    await store.delete(["a"]);
    const counts: Record<string, number> = {};
    let headSeconds = 0;
    for (const { series } of metrics.collect()) {
      for (const { attributes, cell } of series.values()) {
        if (!(cell instanceof HistogramCell)) continue;
        counts[`${attributes.operation} ${attributes.outcome}`] = cell.count;
        if (attributes.operation === "head") headSeconds = cell.sum;
      }
    }
    assert.deepEqual(counts, {
      "put ok": 2,
      "put OBJECT_EXISTS": 1,
      "get OBJECT_NOT_FOUND": 1,
      "head ok": 1,
      "list ok": 2,
      "delete ok": 1,
    });
    assert.equal(headSeconds, 0.25);
  });

  it("counts the bytes that operations moved, those of failed writes under their error", async () => {
    const metrics = createMetricRegistry();
    const store = instrumentStore(createMemoryStore(), { metrics, clock: new ManualClock() });
    await store.put("a", [new Uint8Array(3), new Uint8Array(4)]);
    await assert.rejects(store.put("a", [new Uint8Array(5)]));
    await store.get("a");
    await store.get("a", { start: 2, length: 3 });
    await assert.rejects(store.get("b"));
    assert.deepEqual(bytesBy(metrics), { "put ok": 7, "put OBJECT_EXISTS": 5, "get ok": 10 });
  });
});

const flush = (sequence: number) => ({ runId: "run", sequence });

describe("instrumented sink", () => {
  it("counts each append as a put, with its bytes and duration, by outcome", async () => {
    const clock = new ManualClock();
    const metrics = createMetricRegistry();
    const memory = new MemoryStore();
    const inner = new TestSink(memory);
    inner.fates.push("ok", "full", "hold");
    const sink = instrumentSink(inner, { metrics, clock });
    assert.equal(sink.concurrency, inner.concurrency);
    const location = await sink.append([new Uint8Array(3), new Uint8Array(4)], flush(1));
    assert.equal(location.length, 7);
    await assert.rejects(sink.append([new Uint8Array(2)], flush(2)), { code: "STORE_FULL" });
    const abort = new AbortController();
    const held = sink.append([new Uint8Array(1)], flush(3), abort.signal);
    clock.advance(500);
    abort.abort();
    await assert.rejects(held);
    assert.deepEqual(bytesBy(metrics), { "put ok": 7, "put STORE_FULL": 2, "put ABORTED": 1 });
    const aborted = metrics.histogram(catalogue.storeOperationDuration, {
      ...{ operation: "put", outcome: "ABORTED" },
    });
    assert.equal(aborted.count, 1);
    assert.equal(aborted.sum, 0.5);
  });
});

function bytesBy(metrics: MetricRegistry): Readonly<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const { descriptor, series } of metrics.collect()) {
    if (descriptor !== catalogue.storeBytes) continue;
    for (const { attributes, cell } of series.values()) {
      if (cell instanceof CounterCell)
        found[`${attributes.operation} ${attributes.outcome}`] = cell.value;
    }
  }
  return found;
}
