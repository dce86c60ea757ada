import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { instrumentStore } from "../../../src/storage/instrumented.ts";
import { createMemoryStore } from "../../../src/storage/memory.ts";
import { HistogramCell } from "../../../src/telemetry/cells.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

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
});
