/** METRICS rule 1, sentence by sentence; the numbers themselves are compared with an oracle in `lag-oracle.test.ts`. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createCluster } from "../../../src/client/cluster.ts";
import { createInProcessTransport } from "../../../src/client/in-process-transport.ts";
import { createConsumer } from "../../../src/consumer/consumer.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import { createHandler } from "../../../src/http/handler.ts";
import type { AgentApi } from "../../../src/rpc/agent-api.ts";
import { bootstrap, type TelemetrySdk } from "../../../src/telemetry/bootstrap.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { withFaults } from "../../fault/faulty-metadata.ts";
import {
  type BenchAgent,
  createTopic,
  memoryMetadata,
  seededRandom,
  send,
  sendAndWait,
  startAgent,
} from "../../unit/agent/bench-agent.ts";
import { MemoryStore, TestSink } from "../../unit/agent/memory-store.ts";
import { parseMetrics, type Sample, samplesOf, sumOf } from "../metrics-text.ts";

type Scrape = () => Promise<readonly Sample[]>;

function scrapeOf(sdk: TelemetrySdk): Scrape {
  const handle = createHandler({ metrics: sdk.metrics, scrape: { cacheMs: 0 } });
  return async () => {
    const answer = await handle(new Request("http://localhost/metrics"));
    assert.equal(answer.status, 200);
    return parseMetrics(await answer.text());
  };
}

const NOBODY = { memberId: "", memberEpoch: 0 };

describe("rule 1: lag", () => {
  const clock = new ManualClock();
  const { metadata, faults } = withFaults(memoryMetadata(clock));
  const store = new MemoryStore();
  let sdk: TelemetrySdk;
  let bench: BenchAgent;
  let scrape: Scrape;

  before(async () => {
    sdk = bootstrap({ register: false, env: {} });
    scrape = scrapeOf(sdk);
    const agent = { retentionCheckMs: 1_000 };
    bench = await startAgent({ clock, metadata, store, telemetry: sdk, agent });
  });
  after(async () => {
    await clock.until(bench.agent.stop());
    await sdk.shutdown();
  });

  const commit = (topicId: string, group: string, offset: number) =>
    metadata.commitOffsets(group, NOBODY, [{ topicId, partition: 0, offset, metadata: "" }]);
  const value = async (name: string, group_id: string) =>
    sumOf(await scrape(), `streamhouse_${name}`, { group_id });

  it("keeps growing with no consumer alive, and no record is read for it", async () => {
    const topicId = await createTopic(bench, "dead");
    await sendAndWait(bench, "dead", ["a", "b", "c"]);
    await commit(topicId, "dead", 1);
    await clock.run(5_000);
    const before = await value("group_lag_seconds", "dead");
    await sendAndWait(bench, "dead", ["d"]);
    await clock.run(10_000);
    assert.equal(await value("group_lag_records", "dead"), 3);
    assert.equal(await value("group_lag_seconds", "dead"), before + 10);
    assert.equal(await value("group_members", "dead"), 0);
    assert.equal(store.gets, 0);
  });

  it("of a group that never committed has no series at the agent", async () => {
    await createTopic(bench, "new");
    await sendAndWait(bench, "new", ["a"]);
    const timeouts = { sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 0 };
    const beat = { clientId: "c", instanceId: "", topics: ["new"], owned: [], ...timeouts };
    const join = { ...beat, group: "new", memberId: "m", memberEpoch: 0 };
    await clock.until(bench.agent.api.heartbeat(join, {}));
    await clock.run(5_000);
    const samples = await scrape();
    assert.deepEqual(samplesOf(samples, "streamhouse_group_lag_records", { group_id: "new" }), []);
    assert.equal(sumOf(samples, "streamhouse_group_members", { group_id: "new" }), 1);
  });

  it("behind the log start is counted from there, and the lost records by themselves", async () => {
    const topicId = await createTopic(bench, "short", { retentionMs: 5_000 });
    await sendAndWait(bench, "short", ["a", "b", "c"]);
    await commit(topicId, "slow", 1);
    await clock.run(10_000);
    await sendAndWait(bench, "short", ["d"]);
    await clock.run(3_000);
    assert.equal(await value("group_lag_records", "slow"), 1);
    assert.equal(await value("group_lost_records", "slow"), 2);
    assert.equal(await value("group_lead_records", "slow"), 0);
  });

  it("is at least a millisecond old while there is any, also when the clock goes back", async () => {
    const topicId = await createTopic(bench, "back");
    await sendAndWait(bench, "back", ["a"]);
    await commit(topicId, "back", 0);
    await clock.run(3_000);
    clock.jump(-1_000_000);
    assert.equal(await value("group_lag_seconds", "back"), 0.001);
    clock.jump(1_000_000);
    await commit(topicId, "back", 1);
    await clock.run(3_000);
    assert.equal(await value("group_lag_seconds", "back"), 0);
  });

  it("is at most five seconds old, and says how old", async () => {
    for (let i = 0; i < 40; i++) {
      await clock.run(333);
      const age = sumOf(await scrape(), "streamhouse_lag_age_seconds");
      assert.ok(age >= 0 && age <= 5, `${age}`);
    }
  });

  it("stays as it was when a refresh fails, which is counted", async () => {
    const before = await value("group_lag_records", "dead");
    const failed = sumOf(await scrape(), "streamhouse_lag_refresh_errors_total");
    faults.next.lagSnapshot = ["none", "lost", "none", "none"];
    await clock.run(10_000);
    const samples = await scrape();
    assert.equal(sumOf(samples, "streamhouse_lag_refresh_errors_total"), failed + 4);
    assert.equal(sumOf(samples, "streamhouse_group_lag_records", { group_id: "dead" }), before);
    assert.ok(sumOf(samples, "streamhouse_lag_age_seconds") > 5);
  });
});

describe("rule 1: two agents", () => {
  it("never export a group's lag in a partition twice", async () => {
    const clock = new ManualClock();
    const metadata = memoryMetadata(clock);
    const store = new MemoryStore();
    const start = async (agentId: string, seed: number) => {
      const sdk = bootstrap({ register: false, env: {} });
      const sink = new TestSink(store, { file: `segments/${agentId}.seg` });
      const agent = { agentId, predecessorsDead: false, leaseRenewMs: 1_000 };
      const random = seededRandom(seed);
      const parts = { clock, metadata, store, sink, random, agent, telemetry: sdk };
      return { sdk, bench: await startAgent(parts), scrape: scrapeOf(sdk) };
    };
    const one = await start("one", 1);
    const partitions = 16;
    const topicId = await createTopic(one.bench, "t", { partitions });
    const two = await start("two", 2);
    await clock.run(4_000);
    for (let partition = 0; partition < partitions; partition++) {
      const sent = clock.until(send(one.bench, "t", ["a"], { partition })).catch(() => undefined);
      if ((await sent) === undefined) await sendAndWait(two.bench, "t", ["a"], { partition });
      const offset = { topicId, partition, offset: 0, metadata: "" };
      await metadata.commitOffsets("g", NOBODY, [offset]);
    }
    await clock.run(3_000);
    const samples = [...(await one.scrape()), ...(await two.scrape())];
    const lags = samplesOf(samples, "streamhouse_group_lag_records", { group_id: "g" });
    assert.equal(lags.length, partitions);
    assert.equal(new Set(lags.map((it) => it.labels.partition)).size, partitions);
    assert.equal(samplesOf(samples, "streamhouse_group_members", { group_id: "g" }).length, 1);
    for (const { bench, sdk } of [one, two]) {
      await clock.until(bench.agent.stop());
      await sdk.shutdown();
    }
  });
});

describe("rule 1: poll()", () => {
  it("never fails because lag could not be refreshed", async () => {
    const clock = new ManualClock();
    const sdk = bootstrap({ register: false, env: {} });
    const scrape = scrapeOf(sdk);
    const bench = await startAgent({ clock });
    await createTopic(bench, "t");
    let down = false;
    const describeGroup: AgentApi["describeGroup"] = (request, call) =>
      down
        ? Promise.reject(new Error("injected: no answer"))
        : bench.agent.api.describeGroup(request, call);
    const shared = { clock, random: seededRandom(7), logger: silentLogger };
    const api = { ...bench.agent.api, describeGroup };
    const cluster = createCluster(createInProcessTransport(api, shared), shared);
    const context = { ...shared, cluster, clientId: "c", telemetry: sdk };
    const consumer = createConsumer(context, { group: "g", topics: ["t"], autoCommit: false });
    await sendAndWait(bench, "t", ["a"]);
    assert.equal((await clock.until(consumer.poll(1_000))).length, 1);
    await clock.run(3_000);
    down = true;
    await sendAndWait(bench, "t", ["b"]);
    await clock.run(10_000);
    assert.equal((await clock.until(consumer.poll(1_000))).length, 1);
    const samples = await scrape();
    assert.ok(sumOf(samples, "streamhouse_lag_refresh_errors_total") >= 3);
    assert.equal(sumOf(samples, "streamhouse_consumer_lag_records", { group_id: "g" }), 1);
    assert.ok(sumOf(samples, "streamhouse_lag_age_seconds", { group_id: "g" }) >= 10);
    down = false;
    await clock.run(3_000);
    assert.equal(sumOf(await scrape(), "streamhouse_consumer_lag_records", { group_id: "g" }), 2);
    await clock.until(consumer.close());
    await cluster.close();
    await clock.until(bench.agent.stop());
    await sdk.shutdown();
  });
});
