/**
 * What `/metrics` answers, read by those who did not write it: promtool, the parsers of Prometheus's Python client, which are stricter
 * than Prometheus itself, and a Prometheus that negotiates OpenMetrics and keeps exemplars.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { context, trace } from "@opentelemetry/api";
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { root } from "../../scripts/runtimes.ts";
import { serve } from "../../src/agent.ts";
import { connect } from "../../src/index.ts";
import { createPrometheusHandler } from "../../src/prometheus.ts";
import { type HttpListener, listenHttp } from "../../src/serve/http-listener.ts";
import { bootstrap } from "../../src/telemetry.ts";
import { eventually } from "../integration/child.ts";
import { scratch } from "../package/packed.ts";
import { counter, gauge, histogram, write } from "../unit/prometheus/streams.ts";
import { type RealPrometheus, startPrometheus } from "./real-prometheus.ts";

interface ParsedSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: string;
  readonly exemplar?: {
    readonly labels: Readonly<Record<string, string>>;
    readonly value: number;
    readonly timestamp: number;
  };
}

interface ParsedFamily {
  readonly name: string;
  readonly type: string;
  readonly unit: string;
  readonly help: string;
  readonly samples: readonly ParsedSample[];
}

type Format = "text" | "openmetrics";
const accept = { text: "text/plain;version=0.0.4", openmetrics: "application/openmetrics-text" };

/** By Debian's python3-prometheus-client. */
function parse(format: Format, input: string): readonly ParsedFamily[] {
  const script = join(root, "test/peers/python/exposition.py");
  const maxBuffer = 64 * 1024 * 1024;
  const ran = spawnSync("/usr/bin/python3", [script, format], { input, maxBuffer });
  assert.equal(ran.status, 0, ran.stderr?.toString());
  return JSON.parse(ran.stdout.toString()) as readonly ParsedFamily[];
}

const RECORDS = 500;

describe("the exposition of a real run", () => {
  const folder = scratch("exposition");
  const spans = new InMemorySpanExporter();
  let traceId = "";
  let telemetry: ReturnType<typeof bootstrap>;
  let server: Awaited<ReturnType<typeof serve>>;
  let house: Awaited<ReturnType<typeof connect>>;
  let prometheus: RealPrometheus | undefined;
  const startedAt = Date.now() / 1_000;

  const metrics = async (format: Format): Promise<string> => {
    const response = await fetch(`${server.http}/metrics`, { headers: { accept: accept[format] } });
    assert.equal(response.status, 200);
    return response.text();
  };

  before(async () => {
    const spanProcessors = [new SimpleSpanProcessor(spans)];
    telemetry = bootstrap({ serviceName: 'the "exposition" test', env: {}, spanProcessors });
    server = await serve({
      data: join(folder.path, "data"),
      grpc: "127.0.0.1:0",
      http: "127.0.0.1:0",
      telemetry,
    });
    house = await connect({ agents: [server.grpc], telemetry });
    await house.admin.createTopic("exposed", { partitions: 2 });
    const producer = house.producer();
    const consumer = house.consumer({
      group: "readers",
      topics: ["exposed"],
      offsetReset: "earliest",
    });
    const span = telemetry.tracerProvider.getTracer("test").startSpan("work");
    traceId = span.spanContext().traceId;
    await context.with(trace.setSpan(context.active(), span), async () => {
      const sends = Array.from({ length: RECORDS }, (_, i) =>
        producer.send({ topic: "exposed", key: `${i}`, value: `value ${i}` }),
      );
      await Promise.all(sends);
    });
    span.end();
    let seen = 0;
    for await (const _record of consumer) {
      seen += 1;
      if (seen === RECORDS) break;
    }
    await consumer.close();
    prometheus = await startPrometheus(folder.path, [{ job: "exposed", url: server.http }]);
  });
  after(async () => {
    await prometheus?.end();
    await house?.close();
    await server?.stop();
    await telemetry?.shutdown();
    folder.remove();
  });

  for (const format of ["text", "openmetrics"] as const) {
    it(`is read by the Python client's ${format} parser, with the true counts`, async () => {
      const families = parse(format, await metrics(format));
      const family = (name: string) => {
        const found = families.find((it) => it.name === name);
        assert.ok(found, `no ${name} in ${families.map((it) => it.name)}`);
        return found;
      };
      const sent = family("streamhouse_records_sent");
      assert.equal(sent.type, "counter");
      const sum = sent.samples.reduce((total, { value }) => total + Number(value), 0);
      assert.equal(sum, RECORDS);
      const duration = family("streamhouse_send_duration_seconds");
      assert.equal(duration.type, "histogram");
      assert.equal(duration.unit, format === "openmetrics" ? "seconds" : "");
      const count = duration.samples.find(({ name }) => name.endsWith("_count"));
      assert.equal(Number(count?.value), RECORDS);
      const target = family(format === "openmetrics" ? "target" : "target_info");
      assert.equal(target.samples[0]?.labels.service_name, 'the "exposition" test');
      assert.equal(new Set(families.map(({ name }) => name)).size, families.length);
    });
  }

  it("carries exemplars that the Python client reads, with a trace of this run", async () => {
    const families = parse("openmetrics", await metrics("openmetrics"));
    const exemplars = families.flatMap(({ samples }) => samples.flatMap((it) => it.exemplar ?? []));
    const ours = exemplars.filter(({ labels }) => labels.trace_id === traceId);
    assert.ok(ours.length > 0, `${exemplars.length} exemplars, none of trace ${traceId}`);
    for (const { labels, timestamp } of ours) {
      assert.match(labels.span_id ?? "", /^[0-9a-f]{16}$/);
      assert.ok(Math.abs(timestamp - startedAt) < 600);
    }
  });

  it("is accepted by promtool", async () => {
    const input = await metrics("text");
    const checked = spawnSync("promtool", ["check", "metrics"], { input });
    assert.deepEqual([checked.status, checked.stderr?.toString()], [0, ""]);
  });

  it("gives a Prometheus exemplars with the trace of this run: it negotiated OpenMetrics", async () => {
    const name = "streamhouse_send_duration_seconds_bucket";
    await eventually("an exemplar in Prometheus", async () => {
      const exemplars = await prometheus?.exemplars(name, startedAt);
      return exemplars?.some(({ trace_id }) => trace_id === traceId);
    });
  });
});

describe("hostile names and values", () => {
  const values = [
    'a "quoted" \\ back\\\\slash\nnew line\r\ttab',
    '",evil="1"} 2\nevil 3\n# EOF\n',
    '\\n is no new line, \\" no quote',
    ' # {trace_id="x"} 1',
    "nul \0 and half \ud800 a pair \udc00",
    "\u2028\u0085\u200b é 💥",
    "{}[],=;#",
    "x".repeat(1_000_000),
  ];
  const shown = values.map((value) => value.toWellFormed().replaceAll("\0", "\ufffd"));
  const points = values.map((value, i) => ({ attributes: { "a.value": value, i }, value: i }));
  const buckets = { buckets: { boundaries: [1], counts: [1, 1] }, count: 2, sum: 3 };
  const streams = [
    counter({ name: 'co"un\nter{}', unit: "{thing}", description: 'he "said" \\ \n no', points }),
    gauge({ name: "9.gauge-/ä", unit: "By", description: "# EOF", points }),
    histogram({
      name: "histogram",
      points: points.map((point) => ({ ...point, value: buckets })),
    }),
  ];

  for (const format of ["text", "openmetrics"] as const) {
    it(`come out of the Python client's ${format} parser as they went in`, async () => {
      const { lines } = await write(streams, format);
      const families = parse(format, `${lines.join("\n")}\n`);
      assert.deepEqual(
        families.map(({ name, type, samples }) => [name, type, samples.length]),
        [
          ["co_un_ter_", "counter", values.length],
          ["_9_gauge_bytes", "gauge", values.length],
          ["histogram", "histogram", values.length * 4],
        ],
      );
      for (const { samples } of families) {
        const seen = new Set(samples.map(({ labels }) => labels.a_value));
        assert.deepEqual([...seen], shown);
      }
      assert.equal(families[0]?.help, 'he "said" \\ \n no');
    });
  }

  it("are stored by a Prometheus, which goes on scraping", async () => {
    const collector = {
      collect: async () => ({
        resourceMetrics: {
          resource: { attributes: { "service.name": values[1] } },
          scopeMetrics: [{ scope: { name: "hostile" }, metrics: streams }],
        },
        errors: [],
      }),
    };
    const folder = scratch("hostile");
    const startedAt = Date.now() / 1_000;
    const listener: HttpListener = await listenHttp(
      createPrometheusHandler(collector),
      "127.0.0.1:0",
    );
    const prometheus = await startPrometheus(folder.path, [{ job: "hostile", url: listener.url }]);
    try {
      await eventually("every series", async () => {
        const series = await prometheus.labels('_9_gauge_bytes{job="hostile"}', startedAt);
        return series.length === values.length;
      });
      const series = await prometheus.labels('_9_gauge_bytes{job="hostile"}', startedAt);
      assert.deepEqual(new Set(series.map(({ a_value }) => a_value)), new Set(shown));
      assert.equal((await prometheus.labels('up{job="hostile"} == 1', startedAt)).length, 1);
      assert.equal((await prometheus.labels('evil{job="hostile"}', startedAt)).length, 0);
    } finally {
      await prometheus.end();
      await listener.stop();
      folder.remove();
    }
  });
});
