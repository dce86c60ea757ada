import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { instrumentMetadata } from "../../../src/metadata/instrumented.ts";
import type { MetadataStore } from "../../../src/metadata/metadata-store.ts";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { HistogramCell } from "../../../src/telemetry/cells.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { memoryMetadata } from "../agent/bench-agent.ts";

describe("instrumented metadata", () => {
  it("counts each call once, by outcome, with its duration, and answers what the store answers", async () => {
    const clock = new ManualClock();
    const metrics = createMetricRegistry();
    const inner = memoryMetadata(clock);
    const renewRun = inner.renewRun.bind(inner);
    inner.renewRun = async (runId, ttlMs) => {
      clock.advance(1_500);
      return renewRun(runId, ttlMs);
    };
    inner.listRuns = () => {
      throw new StreamHouseError({
        ...{ code: "METADATA_UNAVAILABLE", kind: "unavailable", message: "away" },
      });
    };
    const metadata = instrumentMetadata(inner, { metrics, clock });
    assert.equal(metadata.kind, inner.kind);
    const topic = { name: "orders", partitions: 1, retentionMs: 0 };
    assert.equal((await metadata.createTopic(topic)).name, "orders");
    await assert.rejects(metadata.createTopic(topic), { code: "TOPIC_EXISTS" });
    assert.deepEqual(
      (await metadata.listTopics()).map((it) => it.name),
      ["orders"],
    );
    assert.equal(await metadata.renewRun("nobody", 1_000), false);
    await assert.rejects(metadata.listRuns(), { code: "METADATA_UNAVAILABLE" });
    const counts: Record<string, number> = {};
    let renewSeconds = 0;
    for (const { descriptor, series } of metrics.collect()) {
      assert.equal(descriptor, catalogue.metadataOperationDuration);
      for (const { attributes, cell } of series.values()) {
        if (!(cell instanceof HistogramCell)) continue;
        counts[`${attributes.operation} ${attributes.outcome}`] = cell.count;
        if (attributes.operation === "renewRun") renewSeconds = cell.sum;
      }
    }
    assert.deepEqual(counts, {
      "createTopic ok": 1,
      "createTopic TOPIC_EXISTS": 1,
      "listTopics ok": 1,
      "renewRun ok": 1,
      "listRuns METADATA_UNAVAILABLE": 1,
    });
    assert.equal(renewSeconds, 1.5);
    await metadata.close();
  });

  it("has every operation that the store has", () => {
    const clock = new ManualClock();
    const store = createSqliteMetadata({ path: ":memory:", clock });
    const metadata = instrumentMetadata(store, { metrics: createMetricRegistry(), clock });
    const names = new Set<string>();
    for (let it: object | null = store; it !== null && it !== Object.prototype; ) {
      for (const name of Object.getOwnPropertyNames(it)) names.add(name);
      it = Object.getPrototypeOf(it);
    }
    names.delete("constructor");
    const missing = [...names].filter(
      (name) => metadata[name as keyof MetadataStore] === undefined,
    );
    assert.deepEqual(missing, []);
  });
});
