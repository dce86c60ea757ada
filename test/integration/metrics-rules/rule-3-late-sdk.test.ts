/**
 * METRICS rule 3: instruments are made with a component, never at import; an SDK that is registered late gets the totals so far.
 */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { metrics } from "@opentelemetry/api";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { createTestHouse } from "../../../src/testing/test-house.ts";
import { MemoryReader, type ReadMetric } from "../../unit/telemetry/memory-reader.ts";
import { Child, eventually, root } from "../child.ts";

describe("rule 3: instruments", () => {
  it("are not made by importing any door", async () => {
    const child = new Child(`${root}test/integration/metrics-rules/import-doors.ts`, []);
    child.process.stdin.end();
    const { code, stdout, stderr } = await child.finished();
    assert.equal(code, 0, stderr);
    // The command line is a program and may print its help; the last line is ours.
    const { doors, asked } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
    assert.ok(doors.includes("index.ts") && doors.includes("agent.ts"), doors.join());
    assert.deepEqual(asked, []);
  });

  const sum = (metric: ReadMetric | undefined) =>
    Object.values(metric?.points ?? {}).reduce((total: number, it) => total + Number(it), 0);

  after(() => metrics.disable());

  it("of components that were there before the SDK report their totals so far to it", async () => {
    metrics.disable();
    const house = await createTestHouse({ topics: { orders: 2 }, telemetry: {} });
    const producer = house.producer();
    const consumer = house.consumer({ group: "g", topics: ["orders"] });
    const send = (n: number) =>
      Promise.all(Array.from({ length: n }, () => producer.send({ topic: "orders", value: "x" })));
    await send(70);
    let read = 0;
    while (read < 70) read += (await consumer.poll(5_000)).length;
    const reader = new MemoryReader();
    const meterProvider = new MeterProvider({ readers: [reader] });
    metrics.setGlobalMeterProvider(meterProvider);
    let found: Record<string, ReadMetric> = {};
    await eventually("every component to find the SDK", async () => {
      found = await reader.read();
      const names = ["records.sent", "records.consumed", "records.written"];
      return names.every((name) => sum(found[`streamhouse.${name}`]) >= 70);
    });
    const duration = Object.values(found["streamhouse.send.duration.seconds"]?.points ?? {});
    assert.deepEqual(
      duration.map((it) => (it as { readonly count: number }).count),
      [70],
    );
    await send(30);
    // Counted on, not anew and not twice.
    const later = await reader.read();
    assert.equal(sum(later["streamhouse.records.sent"]), 100);
    assert.equal(sum(later["streamhouse.records.written"]), 100);
    await house.close();
    await meterProvider.shutdown();
  });
});
