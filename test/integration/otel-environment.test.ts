/** The `OTEL_*` variables of a real process, in which the SDK's own packages read them too. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { Child, eventually, root } from "./child.ts";
import { temporaryFolder } from "./ways.ts";

const program = `${root}test/integration/otel-environment-child.ts`;
const offsets = [0, 1, 2, 3, 4, 5, 6];

interface Answer {
  readonly registered: boolean;
  readonly offsets: readonly number[];
  readonly warnings: readonly string[];
  readonly text: string;
}

async function run(env: Readonly<Record<string, string>>): Promise<Answer> {
  const child = new Child(program, [], { env });
  child.process.stdin.end();
  const { code, stdout, stderr } = await child.finished();
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** The values of `streamhouse.records.sent` in an OTLP request. */
function sentRecords(body: string): readonly number[] {
  const points: number[] = [];
  for (const { scopeMetrics } of JSON.parse(body).resourceMetrics) {
    for (const { metrics } of scopeMetrics) {
      for (const { name, sum } of metrics) {
        if (name !== "streamhouse.records.sent") continue;
        for (const { asDouble } of sum.dataPoints) points.push(asDouble);
      }
    }
  }
  return points;
}

const isDeno = "Deno" in globalThis;

describe("the OTEL_* variables of a process", () => {
  it("that are all malformed give one warning each, and nothing else changes", async () => {
    const malformed = {
      OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318",
      OTEL_EXPORTER_OTLP_PROTOCOL: "carrier-pigeon",
      OTEL_EXPORTER_OTLP_COMPRESSION: "brotli",
      OTEL_EXPORTER_OTLP_TIMEOUT: "soon",
      OTEL_EXPORTER_OTLP_HEADERS: "%zz",
      OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "sideways",
      OTEL_TRACES_EXPORTER: "otlp,zipkin",
      OTEL_METRICS_EXPORTER: "otlp,statsd",
      OTEL_TRACES_SAMPLER: "sometimes",
      OTEL_PROPAGATORS: "b3",
      OTEL_RESOURCE_ATTRIBUTES: "novalue",
      OTEL_BSP_MAX_QUEUE_SIZE: "-1",
      OTEL_BSP_SCHEDULE_DELAY: "1e99",
      OTEL_METRIC_EXPORT_INTERVAL: "0.1",
      OTEL_METRICS_EXEMPLAR_FILTER: "always_on",
    };
    // What only the SDK reads: it must not fail for it either.
    const sdks = {
      OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "many",
      OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: "-5",
      OTEL_LOG_LEVEL: "shout",
    };
    const answer = await run({ ...malformed, ...sdks });
    assert.equal(answer.registered, true);
    assert.deepEqual(answer.offsets, offsets);
    assert.match(answer.text, /^streamhouse_records_sent_total\{topic="orders"\} 7$/m);
    for (const name of Object.keys(malformed)) {
      const about = answer.warnings.filter((it) => it.includes(name));
      assert.equal(about.length, 1, `${name}: ${about.join(" / ")}`);
    }
    assert.equal(answer.warnings.length, Object.keys(malformed).length);
  });

  it("that are wrong are told on stderr by an agent that was given no logger", async () => {
    const folder = await temporaryFolder();
    const ports = ["127.0.0.1:0", "127.0.0.1:0", folder.path];
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" };
    const agent = new Child(`${root}examples/agent.ts`, ports, { env });
    await agent.says("that it serves", (out) => out.includes("metrics on"));
    const { code, stderr } = await agent.end("SIGTERM");
    await folder.remove();
    assert.equal(code, 0, stderr);
    assert.match(stderr, /OTEL_EXPORTER_OTLP_ENDPOINT/);
  });

  it("OTEL_DENO=true: nothing of ours is registered, and it says so", async () => {
    const answer = await run({ OTEL_DENO: "true", OTEL_EXPORTER_OTLP_ENDPOINT: "" });
    assert.equal(answer.registered, false);
    assert.deepEqual(answer.offsets, offsets);
    assert.match(answer.warnings.join(), /^OTEL_DENO=true: Deno's own OpenTelemetry exports/);
    assert.match(answer.text, /^# OTEL_DENO=true/);
  });

  it("OTEL_DENO=true: Deno's own OpenTelemetry gets what components count, once", {
    skip: !isDeno,
  }, async () => {
    const bodies: string[] = [];
    const receiver = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        if (request.url === "/v1/metrics") bodies.push(body);
        response.writeHead(200, { "content-type": "application/json" }).end("{}");
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
    const { port } = receiver.address() as AddressInfo;
    const child = new Child(program, [], {
      env: {
        OTEL_DENO: "true",
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_METRIC_EXPORT_INTERVAL: "200",
      },
    });
    await eventually("one series with every record", () =>
      bodies.some((body) => sentRecords(body).join() === `${offsets.length}`),
    );
    child.process.stdin.end();
    await child.finished();
    receiver.closeAllConnections();
    await new Promise((resolve) => receiver.close(resolve));
  });
});
