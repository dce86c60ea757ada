/**
 * Counting bugs, planted from outside: cells of a running component are made to count wrongly. Nothing in the product knows of it. Used
 * by the tests that prove that the audit finds such bugs.
 */
import assert from "node:assert/strict";
import type { MeterProvider } from "@opentelemetry/api";
import type {
  CounterCell,
  GaugeCell,
  HistogramCell,
  MetricRegistry,
  UpDownCell,
} from "../../../src/telemetry/cells.ts";
import { carryAttachment } from "../../../src/telemetry/meter-bridge.ts";
import { discrepancies } from "./audit-reading.ts";

/** Every addition goes through `how`, which gets the true addition to use. */
export function distort(
  cell: CounterCell | UpDownCell,
  how: (n: number, add: (n: number) => void) => void,
): void {
  const add = cell.add.bind(cell);
  cell.add = (n) => how(n, add);
}

/** Every sample goes through `how`. */
export function distortSamples(
  cell: HistogramCell,
  how: (v: number, record: (v: number) => void) => void,
): void {
  const record = cell.record.bind(cell);
  cell.record = (v) => how(v, record);
  cell.recordIn = (v) => how(v, record);
}

/** Every value that is set goes through `how`. */
export function distortGauge(cell: GaugeCell, how: (v: number) => number): void {
  const set = cell.set.bind(cell);
  cell.set = (v) => set(how(v));
}

/** Nothing is off. */
export function assertSound(metrics: MetricRegistry, when: string): void {
  const found = discrepancies(metrics);
  assert.ok(found.size > 0, "there are laws");
  for (const [law, off] of found) assert.equal(off, 0, `${law} ${when}`);
}

/** One collection says that this law is broken. */
export function assertCaught(metrics: MetricRegistry, law: string): void {
  const off = discrepancies(metrics).get(law) ?? 0;
  assert.ok(off > 0, `${law} is off by ${off}: the planted bug was not caught`);
}

/** A provider that hands the components' registries to the test, and reports nothing. */
export function capturingProvider(): {
  readonly meterProvider: MeterProvider;
  readonly registries: readonly MetricRegistry[];
} {
  const registries: MetricRegistry[] = [];
  const meterProvider: MeterProvider = {
    getMeter() {
      throw new Error("components hand their registries in");
    },
  };
  carryAttachment(meterProvider, {
    attach(registry) {
      registries.push(registry);
      return () => {};
    },
  });
  return { meterProvider, registries };
}
