/**
 * Broke: an agent and a consumer held every gauge of every partition that they had ever owned: some hundred bytes for each time that
 * a partition came and went, for as long as the process ran.
 * Why: the audit keeps the series that it compares, and kept those of gauges too, although no law asks for one.
 * Cure: it does not look at gauges.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Exported } from "../../src/telemetry/audit.ts";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import { createMetricRegistry } from "../../src/telemetry/registry.ts";
import { countHeld } from "./collect-garbage.ts";

const ROUNDS = 1_000;

describe("the audit", () => {
  it("holds no series of a partition that is gone, however often partitions come and go", async () => {
    const registry = createMetricRegistry();
    const exported = new Exported(registry);
    const cells: WeakRef<object>[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const attributes = { topic: "t", partition: round % 7 };
      cells.push(new WeakRef(registry.gauge(catalogue.highWatermark, attributes)));
      registry.release(catalogue.highWatermark, attributes);
    }
    registry.counter(catalogue.bytesSent, { topic: "t" }).add(3);
    const held = await countHeld(cells);
    // A collector that looks for pointers on the stack may keep some; what broke held all.
    assert.ok(held < ROUNDS / 4, `${held} of ${ROUNDS} cells are held`);
    assert.equal(exported.total(catalogue.bytesSent, "value"), 3);
  });
});
