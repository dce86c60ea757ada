/**
 * A real agent is stopped by SIGSTOP for longer than its lease, with a flush in its hands, and woken again, over a real PostgreSQL and a
 * real S3 server: not one record of the stopped run is published, every send succeeds exactly once and in order, and the agent tells in
 * its metrics and traces what was refused.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import { type Radosgw, startRadosgw } from "../../scripts/backends/radosgw.ts";
import { connect } from "../../src/index.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createPostgresMetadata } from "../../src/metadata/postgres.ts";
import { type AgentProcess, eventually, startCli } from "../integration/child.ts";
import { OtlpReceiver } from "../integration/tracing/otlp-receiver.ts";
import { type S3Proxy, startS3Proxy } from "./s3-proxy.ts";

/** The process keeps its lease for ten seconds (the default), so a pause is longer. */
const PARTITION = 0;

let s3: Radosgw;
let postgres: PostgresServer;
let metadata: MetadataStore;
const spans: OtlpReceiver = new OtlpReceiver();
const proxies: S3Proxy[] = [];
const agents: AgentProcess[] = [];

async function startAgent(agentId: string): Promise<AgentProcess> {
  // Each has its own way to the store, so that a write of one can be held up.
  const proxy = await startS3Proxy(s3.endpoint);
  proxies.push(proxy);
  const args = [
    ...["agent", "--agent-id", agentId, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"],
    ...["--store", s3.url("fencing", proxy.endpoint), "--metadata", postgres.url],
  ];
  const env = {
    ...s3.env,
    OTEL_SERVICE_NAME: agentId,
    OTEL_EXPORTER_OTLP_ENDPOINT: spans.url,
    OTEL_TRACES_SAMPLER: "always_on",
    OTEL_BSP_SCHEDULE_DELAY: "200",
  };
  const child = startCli(args, { env });
  child.process.stdin.end();
  const line = await child.says(`${agentId} to serve`, (out) => /^\{.*\}$/m.exec(out)?.[0]);
  const agent = { child, ...(JSON.parse(line) as Omit<AgentProcess, "child">) };
  agents.push(agent);
  return agent;
}

function signal(agent: AgentProcess, name: "SIGSTOP" | "SIGCONT"): void {
  const { pid } = agent.child.process;
  assert.ok(pid !== undefined);
  process.kill(pid, name);
}

/** The sum of a family at an agent's /metrics; undefined if it has no series yet. */
async function metric(agent: AgentProcess, name: string): Promise<number | undefined> {
  const answer = await fetch(`${agent.http}/metrics`);
  const lines = (await answer.text()).split("\n");
  const values = lines.filter((it) => it.startsWith(`${name}{`) || it.startsWith(`${name} `));
  if (values.length === 0) return undefined;
  return values.reduce((sum, it) => sum + Number(it.slice(it.lastIndexOf(" ") + 1)), 0);
}

before(async () => {
  [s3, postgres] = await Promise.all([startRadosgw(), startPostgres(), spans.listen()]);
  metadata = await createPostgresMetadata({}, { url: postgres.url });
});
after(async () => {
  for (const { child } of agents) await child[Symbol.asyncDispose]();
  for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
  await metadata.close();
  await spans.close();
  await s3.stop();
  await postgres.remove();
});

async function holderOf(topicId: string): Promise<{ runId: string; epoch: number } | undefined> {
  const leases = await metadata.listLeases();
  return leases.find((it) => it.topicId === topicId && it.partition === PARTITION);
}

async function flushesOf(runId: string): Promise<readonly number[]> {
  const flushes = await metadata.listFlushes(0, 100_000);
  return flushes.filter((it) => it.runId === runId).map((it) => it.flushSequence);
}

/** Sends one record after another without waiting, and keeps what came of each. */
class Sending implements AsyncDisposable {
  readonly offsets = new Map<number, number>();
  readonly errors: unknown[] = [];
  count = 0;
  #over = false;
  #done: Promise<void> | undefined;

  start(send: (value: string) => Promise<{ readonly offset?: number | undefined }>): void {
    const loop = async () => {
      while (!this.#over) {
        const i = this.count++;
        send(`${i}`).then(
          ({ offset = -1 }) => this.offsets.set(i, offset),
          (error: unknown) => this.errors.push(error),
        );
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    this.#done = loop();
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#done;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

describe("an agent that was stopped for longer than its lease and woken again", () => {
  it("publishes not one record of the stopped run; its clients' sends all succeed exactly once, in order", async () => {
    await startAgent("agent-a");
    await startAgent("agent-b");
    await using house = await connect({ agents: agents.map((it) => it.grpc) });
    const { id } = await house.admin.createTopic("t");
    const before = await eventually("somebody to hold the partition", () => holderOf(id));
    const runs = await metadata.listRuns();
    const victimId = runs.find((it) => it.runId === before.runId)?.agentId;
    const at = agents.findIndex((it) => it.agentId === victimId);
    const [victim, proxy] = [agents[at], proxies[at]];
    const other = agents[1 - at];
    assert.ok(victim && proxy && other);

    const producer = house.producer({ lingerMs: 1, batchBytes: 500 });
    await using sending = new Sending();
    sending.start((value) => producer.send({ topic: "t", value }));
    await eventually("records to be acknowledged", () => sending.offsets.size > 50);
    // A write that takes long: the process is stopped with a flush in its hands.
    proxy.seen.length = 0;
    proxy.plan(/^PUT .*\/segments\//, { delayMs: 2_000 }, { delayMs: 2_000 });
    await eventually("a write to be under way", () =>
      proxy.seen.some((it) => it.startsWith("PUT ")),
    );
    signal(victim, "SIGSTOP");
    const published = sending.offsets.size;

    const next = await eventually("the other agent to take over", async () => {
      const holder = await holderOf(id);
      return holder !== undefined && holder.runId !== before.runId && holder;
    });
    assert.ok(next.epoch > before.epoch);
    await eventually(
      "sends to succeed at the other agent",
      () => sending.offsets.size > published + 100,
    );
    const committed = await flushesOf(before.runId);

    signal(victim, "SIGCONT");
    const fenced = await eventually("the refused write to be counted", async () => {
      const count = await metric(victim, "streamhouse_fenced_writes_total");
      return count !== undefined && count > 0 && count;
    });
    assert.ok(fenced > 0);
    await eventually("the refused write to be in a trace", () =>
      spans.spans.some((it) => it.service === victimId && it.events.includes("fenced")),
    );
    const flush = spans.spans.find((it) => it.name === "flush" && it.events.includes("fenced"));
    assert.equal(flush?.status, 2, "the flush itself says that it was fenced");
    const produce = spans.spans.find(
      (it) => it.name === "ProducerService.produce" && it.events.includes("fenced"),
    );
    assert.equal(produce?.attributes["rpc.response.status_code"], "ABORTED");

    const woken = sending.offsets.size;
    await eventually("sends to go on", () => sending.offsets.size > woken + 100);
    await sending.stop();
    await producer.flush();
    await producer.close();
    assert.deepEqual(sending.errors, []);
    assert.deepEqual(await flushesOf(before.runId), committed, "nothing more of the stopped run");

    const { partitionList } = await house.admin.describeTopic("t");
    assert.equal(partitionList[PARTITION]?.highWatermark, sending.count, "each record once");
    const log = await readLog(sending.count);
    assert.deepEqual(
      log.map((it) => it.value),
      Array.from({ length: sending.count }, (_, i) => `${i}`),
    );
    for (const [i, offset] of sending.offsets) assert.equal(log[i]?.offset, offset);
    for (const agent of [victim, other]) {
      const off = await metric(agent, "streamhouse_audit_discrepancy");
      assert.equal(off, 0, `the audit of ${agent.agentId}`);
    }
  });
});

/** The whole partition through each agent; both must serve the same. */
async function readLog(count: number): Promise<readonly { value: string; offset: number }[]> {
  const logs = [];
  for (const { grpc } of agents) {
    await using house = await connect({ agents: [grpc] });
    const assign = [{ topic: "t", partition: PARTITION }];
    const consumer = house.consumer({ assign, offsetReset: "earliest" });
    const log: { value: string; offset: number }[] = [];
    for await (const record of consumer) {
      log.push({ value: record.text(), offset: record.offset });
      if (log.length === count) break;
    }
    logs.push(log);
  }
  assert.deepEqual(logs[0], logs[1]);
  return logs[0] ?? [];
}
