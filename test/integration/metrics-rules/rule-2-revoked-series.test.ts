/**
 * METRICS rule 2: the series of a partition that is no longer ours is gone at the next collection wherever the metric producer is used;
 * over the bridge, where the SDK keeps it for ever, its lag is observed as 0, once.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import type { Consumer } from "../../../src/consumer/consumer.ts";
import { connect } from "../../../src/house/connect.ts";
import type { House } from "../../../src/house/house.ts";
import { type Served, serve } from "../../../src/serve/serve.ts";
import { bootstrap, type TelemetrySdk } from "../../../src/telemetry/bootstrap.ts";
import type { TelemetryOptions } from "../../../src/telemetry/telemetry.ts";
import { MemoryReader } from "../../unit/telemetry/memory-reader.ts";
import { eventually } from "../child.ts";
import { parseMetrics, samplesOf } from "../metrics-text.ts";
import { temporaryFolder } from "../ways.ts";

/** Two topics, each with a group that lags by two records. */
class Work {
  static readonly topics: readonly string[] = ["kept", "revoked"];
  readonly #remove: () => Promise<void>;
  readonly served: Served;
  readonly house: House;
  readonly consumers: readonly Consumer[];

  private constructor(served: Served, house: House, remove: () => Promise<void>) {
    this.served = served;
    this.house = house;
    this.#remove = remove;
    this.consumers = Work.topics.map((topic) =>
      house.consumer({
        ...{ group: `${topic}-readers`, topics: [topic], lagIntervalMs: 50 },
        ...{ autoCommit: false, maxPollRecords: 1 },
      }),
    );
  }

  static async start(telemetry: TelemetryOptions): Promise<Work> {
    const folder = await temporaryFolder();
    const served = await serve({
      ...{ data: folder.path, grpc: "127.0.0.1:0", http: false, telemetry },
      agent: { leaseTtlMs: 1_000, leaseRenewMs: 100 },
    });
    const house = await connect({ agents: [served.grpc], telemetry });
    const work = new Work(served, house, folder.remove);
    for (const topic of Work.topics) {
      await house.admin.createTopic(topic);
      for (let i = 0; i < 3; i++) await house.producer().send({ topic, value: `${i}` });
    }
    for (const consumer of work.consumers) {
      while ((await consumer.poll(5_000)).length === 0);
      await consumer.commit();
    }
    return work;
  }

  async stop(): Promise<void> {
    await this.house.close();
    await this.served.stop();
    await this.#remove();
  }
}

/** Of the consumer, of the agent for its group, and of the agent for itself. */
const ofConsumer = ["streamhouse_consumer_lag_records", "streamhouse_consumer_lag_seconds"];
const ofAgent = [
  "streamhouse_group_lag_records",
  "streamhouse_group_lag_seconds",
  "streamhouse_high_watermark",
  "streamhouse_log_start_offset",
  "streamhouse_active_partitions",
];

describe("rule 2: series of revoked partitions, by the metric producer", () => {
  let sdk: TelemetrySdk;
  let work: Work;
  const collect = async () => parseMetrics((await sdk.metrics.collect()).body);
  const topicsOf = (samples: Awaited<ReturnType<typeof collect>>, name: string) =>
    [...new Set(samplesOf(samples, name).map(({ labels }) => labels.topic))].sort();

  before(async () => {
    sdk = bootstrap({ register: false, env: {} });
    work = await Work.start(sdk);
    await eventually("every series of both topics", async () => {
      const samples = await collect();
      return [...ofConsumer, ...ofAgent].every((name) => topicsOf(samples, name).length === 2);
    });
  });

  after(async () => {
    await work.stop();
    await sdk.shutdown();
  });

  it("a consumer that closed: gone at the very next collection, its totals stay", async () => {
    await work.consumers[1]?.close();
    const samples = await collect();
    for (const name of ofConsumer) assert.deepEqual(topicsOf(samples, name), ["kept"], name);
    assert.deepEqual(topicsOf(samples, "streamhouse_current_offset"), ["kept"]);
    assert.deepEqual(topicsOf(samples, "streamhouse_records_consumed_total"), Work.topics);
    // The agent still sees the group: dead groups lag.
    assert.deepEqual(topicsOf(samples, "streamhouse_group_lag_records"), Work.topics);
  });

  it("a lease that the agent no longer holds: the partition's and its groups' series are gone", async () => {
    await work.house.admin.deleteTopic("revoked");
    await eventually("the agent to let go", async () => {
      const samples = await collect();
      return ofAgent.every((name) => topicsOf(samples, name).join() === "kept");
    });
  });
});

describe("rule 2: series of revoked partitions, over the bridge", () => {
  const reader = new MemoryReader();
  const meterProvider = new MeterProvider({ readers: [reader] });
  let work: Work;
  const lags = async (name: string): Promise<Record<string, unknown>> => {
    const points = (await reader.read())[name.replaceAll("_", ".")]?.points ?? {};
    return Object.fromEntries(
      Object.entries(points).map(([key, value]) => [/topic=(\w+)/.exec(key)?.[1] ?? key, value]),
    );
  };

  before(async () => {
    work = await Work.start({ meterProvider });
    await eventually("the lag of both topics", async () => {
      const { kept, revoked } = await lags("streamhouse_consumer_lag_records");
      return kept === 2 && revoked === 2;
    });
  });

  after(async () => {
    await work.stop();
    await meterProvider.shutdown();
  });

  it("a consumer that closed: the SDK keeps the series, and it says 0 from the next collection on", async () => {
    await work.consumers[1]?.close();
    for (const name of ofConsumer) {
      for (let collections = 0; collections < 2; collections++) {
        const { kept, revoked } = await lags(name);
        assert.equal(revoked, 0, name);
        assert.ok(Number(kept) > 0, name);
      }
    }
  });
});
