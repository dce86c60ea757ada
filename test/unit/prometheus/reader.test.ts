import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { AggregationType, InstrumentType, MeterProvider } from "@opentelemetry/sdk-metrics";
import {
  createPrometheusHandler,
  createPrometheusReader,
  type PrometheusReaderOptions,
  servePrometheus,
} from "../../../src/prometheus.ts";

async function scraped(
  options: PrometheusReaderOptions,
  measure: (provider: MeterProvider) => void,
): Promise<string> {
  const reader = createPrometheusReader(options);
  const resource = resourceFromAttributes({});
  const provider = new MeterProvider({ readers: [reader], resource });
  measure(provider);
  const response = await createPrometheusHandler(reader)(new Request("http://localhost/metrics"));
  const text = await response.text();
  await provider.shutdown();
  return text;
}

describe("the reader", () => {
  it("collects totals from the start, scrape after scrape", async () => {
    const reader = createPrometheusReader();
    const provider = new MeterProvider({ readers: [reader] });
    const handler = createPrometheusHandler(reader, { cacheMs: 0, targetInfo: false });
    const counter = provider.getMeter("m").createCounter("c");
    for (const total of [1, 2, 3]) {
      counter.add(1);
      const text = await (await handler(new Request("http://localhost/"))).text();
      assert.equal(text, `# TYPE c_total counter\nc_total ${total}\n`);
    }
    await provider.shutdown();
  });

  it("belongs to one MeterProvider, and says what it lacks without one and after the end", async () => {
    const reader = createPrometheusReader();
    const handler = createPrometheusHandler(reader, { cacheMs: 0 });
    const ask = async () => {
      const response = await handler(new Request("http://localhost/"));
      return `${response.status} ${await response.text()}`;
    };
    assert.match(await ask(), /^500 .*the reader has no MeterProvider/);
    const provider = new MeterProvider({ readers: [reader] });
    assert.match(await ask(), /^200 /);
    assert.throws(() => new MeterProvider({ readers: [reader] }), /make one reader for each/);
    await provider.forceFlush();
    await provider.shutdown();
    assert.match(await ask(), /^500 .*the MeterProvider is shut down/);
  });

  it("aggregates as it is told, and limits series as it is told", async () => {
    const options: PrometheusReaderOptions = {
      cardinalityLimit: 3,
      aggregationSelector: (type) =>
        type === InstrumentType.HISTOGRAM
          ? { type: AggregationType.EXPONENTIAL_HISTOGRAM }
          : { type: AggregationType.DEFAULT },
    };
    const text = await scraped(options, (provider) => {
      const meter = provider.getMeter("m");
      meter.createHistogram("h").record(3);
      const counter = meter.createCounter("c");
      for (let i = 0; i < 10; i++) counter.add(1, { i });
    });
    assert.match(text, /^h_bucket\{le="3\.36.*"\} 1$/m);
    assert.match(text, /^c_total\{otel_metric_overflow="true"\} 8$/m);
  });

  it("collects from other producers too, whose resource it does not look at", async () => {
    const collect = () => {
      const { resourceMetrics } = {
        resourceMetrics: {
          resource: resourceFromAttributes({ "service.name": "not this" }),
          scopeMetrics: [
            {
              scope: { name: "p" },
              metrics: [
                {
                  descriptor: { name: "produced", description: "", unit: "", valueType: 1 },
                  aggregationTemporality: 1,
                  dataPointType: 2 as const,
                  dataPoints: [
                    {
                      attributes: {},
                      startTime: [0, 0] as [number, number],
                      endTime: [0, 0] as [number, number],
                      value: 7,
                    },
                  ],
                },
              ],
            },
          ],
        },
      };
      return Promise.resolve({ resourceMetrics, errors: [] });
    };
    const text = await scraped({ metricProducers: [{ collect }] }, () => {});
    assert.equal(text, "# TYPE produced gauge\nproduced 7\n");
  });
});

describe("the server", () => {
  it("listens on loopback by default, answers its path only, and ends", async () => {
    const reader = createPrometheusReader();
    const provider = new MeterProvider({ readers: [reader] });
    const server = await servePrometheus(reader, { port: 0 });
    assert.match(server.url, /^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
    assert.equal((await fetch(server.url)).status, 200);
    assert.equal((await fetch(server.url.replace("/metrics", "/"))).status, 404);
    await Promise.all([server.close(), server.close()]);
    await assert.rejects(fetch(server.url));
    await provider.shutdown();
  });

  it("says when its port is taken", async () => {
    const reader = createPrometheusReader();
    const first = await servePrometheus(reader, { port: 0, path: "/m" });
    assert.match(first.url, /\/m$/);
    const port = Number(new URL(first.url).port);
    await assert.rejects(servePrometheus(createPrometheusReader(), { port }), {
      code: "EADDRINUSE",
    });
    await first.close();
  });
});
