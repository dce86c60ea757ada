import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { bootstrap } from "../../../src/telemetry/bootstrap.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { endSpan, startBatchSpan } from "../../../src/telemetry/spans.ts";
import { createTelemetry } from "../../../src/telemetry/telemetry.ts";

interface Received {
  readonly path: string;
  readonly contentType: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

/** Takes OTLP/HTTP and remembers it; answers with `status`, or never when it is 0. */
class Receiver {
  readonly received: Received[] = [];
  readonly #server: Server;
  status = 200;
  url = "";

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        this.received.push({
          path: request.url ?? "",
          contentType: request.headers["content-type"] ?? "",
          headers: request.headers,
          body: Buffer.concat(chunks),
        });
        if (this.status !== 0) response.writeHead(this.status).end();
      });
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** One `send_batch_to_agent` span of the sdk, ended. */
function oneSpan(sdk: ReturnType<typeof bootstrap>): void {
  const telemetry = createTelemetry(sdk, { name: "test" });
  endSpan(startBatchSpan(telemetry, { recordCount: 7, topic: "orders", partition: 1 }));
  telemetry.close();
}

function start(env: Record<string, string>, shutdownTimeoutMs = 5_000, told: string[] = []) {
  return bootstrap({
    logger: { warn: (message) => void told.push(message) },
    env: { OTEL_EXPORTER_OTLP_TIMEOUT: "300", ...env },
    serviceName: "otlp-test",
    register: false,
    shutdownTimeoutMs,
  });
}

/** What the telemetry says of its own losses. */
async function losses(sdk: ReturnType<typeof bootstrap>): Promise<string[]> {
  const { body } = await sdk.metrics.collect();
  return body
    .split("\n")
    .filter((line) => /^streamhouse_telemetry_(spans_dropped|export_failures)_total/.test(line))
    .filter((line) => !line.endsWith(" 0"));
}

async function flush(sdk: ReturnType<typeof bootstrap>): Promise<void> {
  const provider = sdk.tracerProvider as unknown as { forceFlush(): Promise<void> };
  await provider.forceFlush().catch(() => {});
}

describe("OTLP export", () => {
  const receiver = new Receiver();
  before(() => receiver.listen());
  after(() => receiver.close());

  const exported = async (env: Record<string, string>): Promise<Received> => {
    receiver.received.length = 0;
    const sdk = start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...env });
    oneSpan(sdk);
    await sdk.shutdown();
    assert.equal(receiver.received.length, 1);
    const [first] = receiver.received;
    assert.ok(first !== undefined);
    return first;
  };

  it("sends spans as JSON, with resource, scope, kind and attributes", async () => {
    const { path, contentType, body, headers } = await exported({
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=a%20b",
    });
    assert.equal(path, "/v1/traces");
    assert.equal(contentType, "application/json");
    assert.equal(headers["x-tenant"], "a b");
    const [resourceSpans] = JSON.parse(body.toString()).resourceSpans;
    assert.match(JSON.stringify(resourceSpans.resource), /"otlp-test"/);
    const [{ scope, spans, schemaUrl }] = resourceSpans.scopeSpans;
    assert.equal(scope.name, "@streamhouse/streamhouse");
    assert.match(schemaUrl, /^https:\/\/opentelemetry\.io\/schemas\//);
    assert.equal(spans[0].name, "send_batch_to_agent");
    assert.equal(spans[0].kind, 3);
    assert.match(JSON.stringify(spans[0].attributes), /"record_count","value":\{"intValue":7\}/);
  });

  it("sends spans as protobuf by default", async () => {
    const { path, contentType, body } = await exported({});
    assert.equal(path, "/v1/traces");
    assert.equal(contentType, "application/x-protobuf");
    assert.ok(body.includes("send_batch_to_agent"));
    assert.ok(body.includes("otlp-test"));
    // ExportTraceServiceRequest.resource_spans: field 1, length-delimited.
    assert.equal(body[0], 0x0a);
  });

  it("sends metrics too when asked, cells included", async () => {
    receiver.received.length = 0;
    const sdk = start({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_TRACES_EXPORTER: "none",
      OTEL_METRICS_EXPORTER: "prometheus,otlp",
      OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: "http/json",
    });
    const telemetry = createTelemetry(sdk, { name: "test" });
    telemetry.metrics.counter(catalogue.recordsSent, { topic: "orders" }).add(41);
    telemetry.close();
    await sdk.shutdown();
    assert.equal(receiver.received[0]?.path, "/v1/metrics");
    const { resourceMetrics } = JSON.parse(receiver.received[0]?.body.toString() ?? "");
    const sent = resourceMetrics[0].scopeMetrics
      .flatMap((scope: { metrics: { name: string }[] }) => scope.metrics)
      .find((metric: { name: string }) => metric.name === "streamhouse.records.sent");
    assert.equal(sent.sum.dataPoints[0].asDouble, 41);
    assert.equal(sent.sum.isMonotonic, true);
    assert.ok(BigInt(sent.sum.dataPoints[0].startTimeUnixNano) > 0n);
  });

  /** The pushes of metrics that one counter of an SDK leaves: two collections of 3 and 4 more. */
  const pushed = async (env: Record<string, string>): Promise<readonly Received[]> => {
    receiver.received.length = 0;
    const sdk = start({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_TRACES_EXPORTER: "none",
      OTEL_METRICS_EXPORTER: "otlp",
      ...env,
    });
    const telemetry = createTelemetry(sdk, { name: "test" });
    const sent = telemetry.metrics.counter(catalogue.recordsSent, { topic: "orders" });
    const duration = telemetry.metrics.histogram(catalogue.sendDuration, { topic: "orders" });
    const provider = sdk.meterProvider as unknown as { forceFlush(): Promise<void> };
    for (const n of [3, 4]) {
      sent.add(n);
      duration.record(n);
      await provider.forceFlush();
    }
    await sdk.shutdown();
    return receiver.received.slice(0, 2);
  };

  it("sends metrics as protobuf by default, or as the signal's own variable says", async () => {
    const own = { OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: "http/json" };
    const common = { OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" };
    const types = [];
    for (const env of [{}, common, { ...common, ...own }]) {
      const [first] = await pushed(env);
      assert.ok(first?.body.includes("streamhouse.records.sent"));
      types.push(first?.contentType);
    }
    const protobuf = "application/x-protobuf";
    assert.deepEqual(types, [protobuf, protobuf, "application/json"]);
  });

  for (const [preference, sums, counts] of [
    ["cumulative", [3, 7], [1, 2]],
    ["delta", [3, 4], [1, 1]],
    ["lowmemory", [3, 7], [1, 1]],
  ] as const) {
    it(`sends what a backend with the preference ${preference} wants`, async () => {
      const pushes = await pushed({
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: preference,
      });
      const points = (name: string, of: "sum" | "histogram") =>
        pushes.map(({ body }) => {
          const [{ scopeMetrics }] = JSON.parse(body.toString()).resourceMetrics;
          const all = scopeMetrics.flatMap((it: { metrics: unknown[] }) => it.metrics);
          const metric = all.find((it: { name: string }) => it.name === name);
          return metric[of].dataPoints[0];
        });
      const sent = points(catalogue.recordsSent.name, "sum");
      assert.deepEqual(
        sent.map((it) => it.asDouble),
        sums,
      );
      const durations = points(catalogue.sendDuration.name, "histogram");
      assert.deepEqual(
        durations.map((it) => Number(it.count)),
        counts,
      );
    });
  }

  it("counts the spans that a server which is down did not take, and throws nothing", async () => {
    const down = new Receiver();
    await down.listen();
    await down.close();
    const sdk = start({ OTEL_EXPORTER_OTLP_ENDPOINT: down.url });
    for (let i = 0; i < 3; i++) oneSpan(sdk);
    await flush(sdk);
    assert.deepEqual(await losses(sdk), [
      'streamhouse_telemetry_spans_dropped_total{reason="export_failed"} 3',
      'streamhouse_telemetry_export_failures_total{signal="traces"} 1',
    ]);
    await sdk.shutdown();
  });

  it("says once that exports fail and where, whatever is in the address, and once that they go through", async () => {
    const told: string[] = [];
    const { host } = new URL(receiver.url);
    const endpoint = `http://user:secret@${host}`;
    const sdk = start({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }, 5_000, told);
    for (const status of [200, 404, 400, 200, 200]) {
      receiver.status = status;
      oneSpan(sdk);
      await flush(sdk);
    }
    const to = `http://${host}/v1/traces`;
    assert.deepEqual(told, [
      `traces cannot be sent to ${to}: 404 Not Found; lost ones are counted`,
      `traces are sent to ${to} again`,
    ]);
    await sdk.shutdown();
  });

  it("says it of metrics too, and a logger that throws fails nothing", async () => {
    const down = new Receiver();
    await down.listen();
    await down.close();
    const told: string[] = [];
    const warn = (message: string) => {
      told.push(message);
      throw new Error("no room for a log");
    };
    const sdk = bootstrap({
      env: {
        OTEL_METRICS_EXPORTER: "otlp",
        OTEL_EXPORTER_OTLP_ENDPOINT: down.url,
        OTEL_EXPORTER_OTLP_TIMEOUT: "300",
      },
      register: false,
      logger: { warn },
    });
    await sdk.shutdown();
    assert.equal(told.length, 1);
    assert.ok(told[0]?.startsWith(`metrics cannot be sent to ${down.url}/v1/metrics: `), told[0]);
  });

  it("counts the spans that a server refused", async () => {
    receiver.status = 400;
    const sdk = start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
    oneSpan(sdk);
    await flush(sdk);
    receiver.status = 200;
    assert.equal((await losses(sdk)).length, 2);
    await sdk.shutdown();
  });

  it("counts the spans that found the queue full, to the last one", async () => {
    const sdk = start({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_BSP_MAX_QUEUE_SIZE: "10",
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "10",
      OTEL_BSP_SCHEDULE_DELAY: "60000",
    });
    receiver.received.length = 0;
    for (let i = 0; i < 50; i++) oneSpan(sdk);
    await flush(sdk);
    const [dropped] = await losses(sdk);
    await sdk.shutdown();
    const batches = receiver.received.map(({ body }) => {
      const [{ scopeSpans }] = JSON.parse(body.toString()).resourceSpans;
      return scopeSpans[0].spans.length as number;
    });
    const arrived = batches.reduce((sum, n) => sum + n, 0);
    const expected = `streamhouse_telemetry_spans_dropped_total{reason="queue_full"} ${50 - arrived}`;
    assert.ok(arrived > 0 && arrived < 50);
    assert.equal(dropped, expected);
  });

  it("ends its shutdown in time when the server never answers", async () => {
    receiver.status = 0;
    const sdk = start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }, 100);
    oneSpan(sdk);
    await sdk.shutdown();
    receiver.status = 200;
  });
});
