/** A consumer as in `setup.ts`, and a look at all that it measures. */
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { MetricHub } from "../../../src/telemetry/hub.ts";
import { ATTACHMENT } from "../../../src/telemetry/meter-bridge.ts";
import type { TelemetryOptions } from "../../../src/telemetry/telemetry.ts";
import { readFamilies } from "../telemetry/read-families.ts";
import { type Setup, setUp } from "./setup.ts";

export interface MeasuredSetup extends Setup {
  /** Every series by `name{labels}`: its value, or a histogram's counts. */
  read(): Record<string, number | number[]>;
}

export function measured(options: TelemetryOptions = {}): MeasuredSetup {
  const hub = new MetricHub();
  const meterProvider = Object.assign(new MeterProvider(), { [ATTACHMENT]: hub });
  const setup = setUp({ meterProvider, ...options });
  return { ...setup, read: () => readFamilies(hub.collect()) };
}
