/**
 * A collector that is down, slow, failing, or breaks off changes nothing but its own numbers: producers and consumers see the same results,
 * order and offsets as without telemetry, what was lost is counted to the span, nothing piles up, and the shutdown ends.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TraceFlags } from "@opentelemetry/api";
import type { MeterProvider } from "@opentelemetry/sdk-metrics";
import type { BasicTracerProvider, SpanProcessor } from "@opentelemetry/sdk-trace-base";
import { bootstrap, type TelemetrySdk } from "../../../src/telemetry/bootstrap.ts";
import type { TelemetryOptions } from "../../../src/telemetry/telemetry.ts";
import { createTestHouse } from "../../../src/testing/test-house.ts";
import { eventually } from "../../integration/child.ts";
import { parseMetrics, samplesOf } from "../../integration/metrics-text.ts";
import { type BadCollector, type CollectorMood, startBadCollector } from "./bad-collector.ts";

const RECORDS = 300;
const QUEUE = 64;
const EXPORT_BATCH = 16;
/** An export that is retried is still on its way when the next one begins: a few at once. */
const EXPORTS = 8;

/** What an application sees of a run: acknowledgements in order, then what was read of each partition, in order. */
async function work(telemetry: TelemetryOptions | false): Promise<readonly string[]> {
  const house = await createTestHouse({ topics: { orders: 2 }, telemetry });
  const seen: string[] = [];
  const producer = house.producer({ lingerMs: 0 });
  for (let i = 0; i < RECORDS; i += 3) {
    const sends = [0, 1, 2].map((j) =>
      producer.send({
        topic: "orders",
        partition: (i + j) % 2,
        key: `k${i + j}`,
        value: `v${i + j}`,
      }),
    );
    for (const { partition, offset } of await Promise.all(sends))
      seen.push(`${partition}@${offset}`);
  }
  const consumer = house.consumer({ group: "g", topics: ["orders"] });
  const read: string[] = [];
  for await (const { partition, offset, key, value } of consumer) {
    read.push(`${partition}@${String(offset).padStart(4, "0")} ${text(key)}=${text(value)}`);
    if (read.length === RECORDS) break;
  }
  await house.close();
  return [
    ...seen,
    ...read.filter((it) => it.startsWith("0")),
    ...read.filter((it) => it.startsWith("1")),
  ];
}

function text(bytes: Uint8Array | null): string {
  return bytes === null ? "" : new TextDecoder().decode(bytes);
}

/** Counts sampled spans that ended: what should arrive. */
class EndedSpans implements SpanProcessor {
  count = 0;
  onStart(): void {}
  onEnd(span: Parameters<SpanProcessor["onEnd"]>[0]): void {
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0) this.count++;
  }
  async forceFlush(): Promise<void> {}
  async shutdown(): Promise<void> {}
}

/** Short where every export is to fail; where none may, so long that a machine that stalls is no failure. */
function limitsFor(mood: CollectorMood): Readonly<Record<string, string>> {
  const taken = takers.includes(mood);
  return {
    OTEL_EXPORTER_OTLP_TIMEOUT: taken ? "30000" : "300",
    OTEL_METRIC_EXPORT_INTERVAL: taken ? "30000" : "100",
    OTEL_METRIC_EXPORT_TIMEOUT: taken ? "30000" : "100",
    OTEL_BSP_EXPORT_TIMEOUT: taken ? "30000" : "1000",
  };
}

function startSdk(
  collector: BadCollector,
  mood: CollectorMood,
  protocol: string,
  ended: EndedSpans,
): TelemetrySdk {
  return bootstrap({
    register: false,
    spanProcessors: [ended],
    shutdownTimeoutMs: 1_000,
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      OTEL_METRICS_EXPORTER: "prometheus,otlp",
      OTEL_BSP_SCHEDULE_DELAY: "20",
      ...limitsFor(mood),
      OTEL_BSP_MAX_QUEUE_SIZE: String(QUEUE),
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE: String(EXPORT_BATCH),
    },
  });
}

class Losses {
  readonly #sdk: TelemetrySdk;

  constructor(sdk: TelemetrySdk) {
    this.#sdk = sdk;
  }

  async read(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const samples = parseMetrics((await this.#sdk.metrics.collect()).body);
    return samplesOf(samples, name, labels).reduce((sum, it) => sum + it.value, 0);
  }

  dropped(): Promise<number> {
    return this.read("streamhouse_telemetry_spans_dropped_total");
  }

  failures(signal: string): Promise<number> {
    return this.read("streamhouse_telemetry_export_failures_total", { signal });
  }
}

/** What is in the queue goes to the exporter; an export that fails makes it reject. */
async function flushSpans(sdk: TelemetrySdk): Promise<void> {
  await (sdk.tracerProvider as BasicTracerProvider).forceFlush().catch(() => {});
}

async function shutDownInTime(sdk: TelemetrySdk): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("the shutdown does not end")), 30_000);
  });
  await Promise.race([sdk.shutdown(), late]);
  clearTimeout(timer);
}

interface Room extends AsyncDisposable {
  readonly collector: BadCollector;
  readonly ended: EndedSpans;
  readonly sdk: TelemetrySdk;
  readonly losses: Losses;
}

async function openRoom(mood: CollectorMood, protocol: string): Promise<Room> {
  const collector = await startBadCollector(mood);
  const ended = new EndedSpans();
  const sdk = startSdk(collector, mood, protocol, ended);
  const close = async () => {
    await sdk.shutdown();
    await collector.close();
  };
  return { collector, ended, sdk, losses: new Losses(sdk), [Symbol.asyncDispose]: close };
}

const faults: readonly CollectorMood[] = ["down", "slow", "failing", "cut", "deaf"];
const takers: readonly CollectorMood[] = ["well", "cut after 200"];
const protocols = ["http/json", "http/protobuf"];

describe("with a collector that misbehaves", () => {
  for (const protocol of protocols) {
    for (const mood of faults) {
      it(`${mood}, ${protocol}: the same results, every lost span counted, and an end`, async () => {
        const expected = await work(false);
        await using room = await openRoom(mood, protocol);
        const { collector, ended, losses, sdk } = room;
        assert.deepEqual(await work(sdk), expected);
        assert.ok(ended.count > RECORDS / 3, `${ended.count} spans`);
        // What is neither delivered nor counted as lost is in the queue or on its way, and that is bounded.
        const open = ended.count - (await losses.dropped());
        assert.ok(open <= QUEUE + EXPORTS * EXPORT_BATCH, `${open} spans are kept`);
        await flushSpans(sdk);
        await eventually("every span to be counted as lost", async () => {
          return (await losses.dropped()) === ended.count;
        });
        await eventually("a push of metrics to fail", async () => {
          return (await losses.failures("metrics")) > 0;
        });
        const name = "streamhouse_records_sent_total";
        assert.equal(await losses.read(name, { topic: "orders" }), RECORDS);
        assert.equal(await losses.read("streamhouse_audit_discrepancy"), 0);
        assert.ok((await losses.failures("traces")) > 0);
        if (mood === "failing") {
          // It is not sent again: each request is a failed export.
          assert.equal(await losses.failures("traces"), collector.requests.get("/v1/traces"));
        }
        await shutDownInTime(sdk);
      });
    }

    for (const mood of takers) {
      it(`${mood}, ${protocol}: nothing is lost, and nothing is counted as lost`, async () => {
        await using room = await openRoom(mood, protocol);
        const { collector, ended, losses, sdk } = room;
        assert.deepEqual(await work(sdk), await work(false));
        await flushSpans(sdk);
        const full = await losses.read("streamhouse_telemetry_spans_dropped_total", {
          reason: "queue_full",
        });
        assert.equal(await losses.dropped(), full);
        if (protocol === "http/json") {
          assert.equal(
            collector.traces.reduce((sum, body) => sum + spansIn(body), 0),
            ended.count - full,
          );
        }
        assert.equal(await losses.failures("traces"), 0);
        await (sdk.meterProvider as MeterProvider).forceFlush();
        assert.ok(collector.requests.has("/v1/metrics"));
        assert.equal(await losses.failures("metrics"), 0);
        await shutDownInTime(sdk);
      });
    }
  }
});

interface TracesBody {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly { readonly spans: readonly unknown[] }[];
  }[];
}

function spansIn(body: Buffer): number {
  const { resourceSpans } = JSON.parse(body.toString()) as TracesBody;
  return resourceSpans.flatMap((it) => it.scopeSpans.flatMap(({ spans }) => spans)).length;
}
