/**
 * What the dashboards are tried on beside an agent that is well and one that is not: an application whose own SDK refuses every histogram
 * sample, so that samples are lost and counted all the time. Ended by `close()`.
 */
import type { MeterProvider as ApiMeterProvider, Histogram, Meter } from "@opentelemetry/api";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { createPrometheusHandler } from "../../src/prometheus/handler.ts";
import { createPrometheusReader } from "../../src/prometheus/reader.ts";
import { listenHttp } from "../../src/serve/http-listener.ts";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import { createTelemetry } from "../../src/telemetry/telemetry.ts";
import { type Observed, pause } from "./observed-shop.ts";

export async function startRefusingSdk(): Promise<Observed> {
  const reader = createPrometheusReader();
  const sdk = new MeterProvider({ readers: [reader] });
  const telemetry = createTelemetry({ meterProvider: refusing(sdk) }, { name: "refused" });
  const http = await listenHttp(createPrometheusHandler(reader), "127.0.0.1:0");
  const stop = new AbortController();
  const work = (async () => {
    const polls = telemetry.metrics.histogram(catalogue.pollDuration, { group_id: "refused" });
    while (!stop.signal.aborted) {
      polls.record(0.1);
      await pause(200, stop.signal);
    }
  })();
  return {
    targets: [{ job: "refusing", url: http.url }],
    async close() {
      stop.abort();
      await work;
      telemetry.close();
      await http.stop();
      await sdk.shutdown();
    },
  };
}

function refusing(sdk: MeterProvider): ApiMeterProvider {
  const record = () => {
    throw new Error("injected: no sample is taken");
  };
  return {
    getMeter(...args) {
      const meter: Meter = sdk.getMeter(...args);
      const createHistogram = (): Histogram => ({ record });
      return new Proxy(meter, {
        get(target, key) {
          if (key === "createHistogram") return createHistogram;
          const value: unknown = Reflect.get(target, key);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    },
  };
}
