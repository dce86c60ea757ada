/** What an agent measures of its stores, caches, flushes and retention: counted at its own moment, on success and on failure. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TraceFlags } from "@opentelemetry/api";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { catalogue, type InstrumentDescriptor } from "../../../src/telemetry/catalogue.ts";
import type { HistogramCell, MetricRegistry } from "../../../src/telemetry/cells.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { withFaults } from "../../fault/faulty-metadata.ts";
import {
  type BenchAgent,
  type BenchOptions,
  batchOf,
  createTopic,
  failureOf,
  fetchValues,
  memoryMetadata,
  send,
  sendAndWait,
  startAgent,
} from "./bench-agent.ts";
import { MemoryStore, TestSink } from "./memory-store.ts";

interface Measured extends BenchAgent {
  readonly metrics: MetricRegistry;
}

async function measured(options: BenchOptions = {}): Promise<Measured> {
  const bench = await startAgent({ telemetry: {}, ...options });
  return { ...bench, metrics: bench.agent.telemetry.metrics };
}

/** The value of every series of a family at a collection, by the attributes' values. */
function collected(metrics: MetricRegistry, wanted: InstrumentDescriptor): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { descriptor, series } of metrics.collect()) {
    if (descriptor !== wanted) continue;
    for (const { attributes, cell } of series.values()) {
      const key = Object.values(attributes).join(" ");
      found[key] = "counts" in cell ? cell.count : cell.value;
    }
  }
  return found;
}

describe("the agent's instruments", () => {
  it("cache.hits and misses: reads at the tail, and behind it by whether the share was read before", async () => {
    // The tail has room for one batch.
    const room = batchOf(["x".repeat(900)]).buffer.byteLength;
    const bench = await measured({ agent: { tailCacheBytesMax: room } });
    const topicId = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["x".repeat(900)]);
    await fetchValues(bench, topicId, 0);
    // Takes the place of the first in the tail.
    await sendAndWait(bench, "t", ["y".repeat(900)]);
    await fetchValues(bench, topicId, 0, { maxBytes: 100 });
    await fetchValues(bench, topicId, 0, { maxBytes: 100 });
    // Nothing is there to be read: neither.
    await fetchValues(bench, topicId, 2);
    assert.deepEqual(collected(bench.metrics, catalogue.cacheHits), { tail: 1, segment: 1 });
    assert.deepEqual(collected(bench.metrics, catalogue.cacheMisses), { tail: 2, segment: 1 });
  });

  it("bytes.written and bytes.fetched: whole batches, by topic", async () => {
    const bench = await measured();
    const topicId = await createTopic(bench, "t");
    await createTopic(bench, "other");
    await sendAndWait(bench, "t", ["a", "b"]);
    const { t: written } = collected(bench.metrics, catalogue.bytesWritten);
    assert.ok(written !== undefined && written > 61, `${written}`);
    assert.deepEqual(collected(bench.metrics, catalogue.bytesFetched), {});
    await fetchValues(bench, topicId, 0);
    await fetchValues(bench, topicId, 1);
    assert.deepEqual(collected(bench.metrics, catalogue.bytesFetched), { t: 2 * written });
    assert.equal(collected(bench.metrics, catalogue.bytesWritten).other, 0);
  });

  it("flush.duration and flush.bytes: one sample for each sealed flush, by what became of it", async () => {
    const clock = new ManualClock();
    const { metadata, faults } = withFaults(memoryMetadata(clock));
    const bench = await measured({ clock, metadata });
    await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["fine"]);
    bench.sink.fates.push("fail");
    await sendAndWait(bench, "t", ["written at the second try"]);
    bench.sink.fates.push("full");
    await clock.until(failureOf(send(bench, "t", ["never"])));
    faults.next.commitFlush = ["none"];
    await sendAndWait(bench, "t", ["committed at the second try"]);
    const outcomes = { committed: 3, failed: 2 };
    assert.deepEqual(collected(bench.metrics, catalogue.flushDuration), outcomes);
    assert.deepEqual(collected(bench.metrics, catalogue.flushBytes), outcomes);
    const commits = collected(bench.metrics, catalogue.metadataOperationDuration);
    assert.equal(commits["commitFlush ok"], 3);
    assert.equal(commits["commitFlush METADATA_UNAVAILABLE"], 1);
    const puts = collected(bench.metrics, catalogue.storeOperationDuration);
    assert.deepEqual(
      [puts["put ok"], puts["put STORE_UNAVAILABLE"], puts["put STORE_FULL"]],
      [3, 1, 1],
    );
  });

  it("flush.duration: a later flush that a failed one takes back is undone", async () => {
    const store = new MemoryStore();
    const sink = new TestSink(store, { concurrency: 2 });
    const bench = await measured({ store, sink, agent: { flushBytes: 1 } });
    await createTopic(bench, "t");
    sink.fates.push("hold");
    const sent = [send(bench, "t", ["a"])];
    await bench.clock.run(10);
    sent.push(send(bench, "t", ["b"]));
    await bench.clock.run(10);
    sink.failHeld();
    for (const it of sent) await bench.clock.until(it);
    const outcomes = collected(bench.metrics, catalogue.flushDuration);
    assert.deepEqual([outcomes.failed, outcomes.undone], [1, 1]);
    assert.equal(collected(bench.metrics, catalogue.recordsWritten).t, 2);
  });

  it("fenced.writes: batches that metadata refused because another run has the lease", async () => {
    const bench = await measured();
    const { clock, metadata, sink } = bench;
    await createTopic(bench, "t");
    sink.fates.push("hold");
    const sent = send(bench, "t", ["a"]);
    await clock.run(10);
    assert.equal(sink.held, 1);
    await metadata.startRun({
      ...{ runId: "taker", agentId: "b", address: "", ttlMs: 60_000, predecessorsDead: true },
    });
    assert.deepEqual(collected(bench.metrics, catalogue.fencedWrites), { "": 0 });
    sink.release();
    await clock.until(failureOf(sent));
    assert.equal(collected(bench.metrics, catalogue.flushDuration).refused, 1);
    assert.deepEqual(collected(bench.metrics, catalogue.fencedWrites), { "": 1 });
    assert.equal(collected(bench.metrics, catalogue.recordsWritten).t, 0);
  });

  it("agent.buffer.bytes: what is accepted and not yet committed", async () => {
    const bench = await measured();
    await createTopic(bench, "t");
    assert.deepEqual(collected(bench.metrics, catalogue.bufferBytes), { "": 0 });
    bench.sink.fates.push("hold");
    const sent = send(bench, "t", ["held"]);
    await bench.clock.run(10);
    assert.ok((collected(bench.metrics, catalogue.bufferBytes)[""] ?? 0) > 61);
    bench.sink.release();
    await bench.clock.until(sent);
    assert.deepEqual(collected(bench.metrics, catalogue.bufferBytes), { "": 0 });
  });

  it("retention: seconds only where it is limited, the records it took, the runs that failed", async () => {
    const clock = new ManualClock();
    const { metadata, faults } = withFaults(memoryMetadata(clock));
    const bench = await measured({ clock, metadata, agent: { retentionCheckMs: 1_000 } });
    await createTopic(bench, "short", { retentionMs: 5_000 });
    await createTopic(bench, "long");
    await sendAndWait(bench, "short", ["a", "b"]);
    await sendAndWait(bench, "long", ["c"]);
    assert.deepEqual(collected(bench.metrics, catalogue.retentionSeconds), { short: 5 });
    await clock.run(4_000);
    assert.deepEqual(collected(bench.metrics, catalogue.retentionRecords), {});
    faults.next.advanceLogStart = ["none"];
    await clock.run(2_500);
    assert.deepEqual(collected(bench.metrics, catalogue.retentionErrors), { "": 1 });
    assert.deepEqual(collected(bench.metrics, catalogue.retentionRecords), {});
    await clock.run(2_000);
    assert.deepEqual(collected(bench.metrics, catalogue.retentionRecords), { short: 2 });
    assert.deepEqual(collected(bench.metrics, catalogue.retentionErrors), { "": 1 });
    await clock.until(bench.agent.api.deleteTopic({ name: "short" }, {}));
    assert.deepEqual(collected(bench.metrics, catalogue.retentionSeconds), {});
  });

  it("exemplars: a sampled request's write latency and its flush's duration name its trace", async () => {
    const exporter = new InMemorySpanExporter();
    const tracerProvider = new BasicTracerProvider({
      spanProcessors: [new SimpleSpanProcessor(exporter)],
    });
    const bench = await measured({ telemetry: { tracerProvider } });
    await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["x"]);
    const spans = exporter.getFinishedSpans();
    const contextOf = (name: string) => spans.find((it) => it.name === name)?.spanContext();
    const latency = bench.metrics.histogram(catalogue.writeLatency, { topic: "t" });
    const flushes = bench.metrics.histogram(catalogue.flushDuration, { outcome: "committed" });
    const exemplarOf = (cell: HistogramCell) => cell.exemplars?.find((it) => it !== undefined);
    const request = contextOf("ProducerService.produce");
    assert.equal(request?.traceFlags, TraceFlags.SAMPLED);
    assert.equal(exemplarOf(latency)?.spanId, request.spanId);
    assert.equal(exemplarOf(flushes)?.spanId, contextOf("flush")?.spanId);
    assert.equal(exemplarOf(flushes)?.traceId, request.traceId);
  });
});
