/** The exposition's seven points again, in an application that has the 3.x SDK: the reader has the SDK's interface and none of its code. */
import assert from "node:assert/strict";
import type { IMetricReader } from "@opentelemetry/sdk-metrics";
import { createPrometheusReader, servePrometheus } from "../../src/prometheus.ts";
import { describeExposition } from "../contract/exposition.ts";
import { startApplication } from "../contract/exposition-application.ts";
import { loadSdk3, sdk3Version } from "./otel-3.ts";

describeExposition(`our own server on the ${sdk3Version} SDK`, async () => {
  const { metrics, resources } = loadSdk3();
  let reader: IMetricReader | undefined;
  const application = startApplication(
    (metricProducers) => {
      reader = createPrometheusReader({ metricProducers });
      return reader;
    },
    {
      MeterProvider: metrics.MeterProvider,
      resourceFromAttributes: resources.resourceFromAttributes,
    },
  );
  assert.ok(reader);
  const server = await servePrometheus(reader, { port: 0 });
  return {
    host: new URL(server.url).hostname,
    async scrape(accept) {
      const response = await fetch(server.url, { headers: accept === undefined ? {} : { accept } });
      const contentType = response.headers.get("content-type") ?? "";
      return { status: response.status, contentType, body: await response.text() };
    },
    fail: () => application.fail(),
    async stop() {
      await server.close();
      await application.shutdown();
    },
  };
});
