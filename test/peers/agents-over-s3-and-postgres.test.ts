/**
 * Three real agents over a real PostgreSQL and a real S3 server, under load throughout: one is stopped for less than its lease, one comes,
 * each is restarted, one is killed. No send fails, nothing is there twice or out of order, and what the issue promises about time holds;
 * test/fault/many-agents.test.ts holds the same bounds exactly, on a clock of its own. Here they are taken generously: the machine is busy.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import { type Radosgw, startRadosgw } from "../../scripts/backends/radosgw.ts";
import type { House } from "../../src/house/house.ts";
import { connect } from "../../src/index.ts";
import type { Lease, MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createPostgresMetadata } from "../../src/metadata/postgres.ts";
import { type AgentProcess, cli, eventually, startCli } from "../integration/child.ts";

/** So many that each agent has a share, whatever the topic's id: one of three has none in 10^8 runs. */
const PARTITIONS = 48;

/** The command line's default. */
const TTL_MS = 10_000;

/** The issue says one second for a hand-over, two beyond the time to live for a take-over. */
const HAND_OVER_MS_MAX = 5_000;
const TAKE_OVER_MS_MAX = TTL_MS + 7_000;

let s3: Radosgw;
let postgres: PostgresServer;
let metadata: MetadataStore;
let house: House;
let topicId: string;
let load: Load;
const agents = new Map<string, AgentProcess>();

async function startAgent(agentId: string): Promise<AgentProcess> {
  const args = [
    ...["agent", "--agent-id", agentId, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"],
    ...["--store", s3.url("agents"), "--metadata", postgres.url, "--readiness", "standby"],
  ];
  const child = startCli(args, { env: { ...s3.env, OTEL_SDK_DISABLED: "true" } });
  child.process.stdin.end();
  const line = await child.says(`${agentId} to serve`, (out) => /^\{.*\}$/m.exec(out)?.[0]);
  const agent = { child, ...(JSON.parse(line) as Omit<AgentProcess, "child">) };
  agents.set(agentId, agent);
  return agent;
}

function agentOf(agentId: string): AgentProcess {
  const agent = agents.get(agentId);
  assert.ok(agent);
  return agent;
}

function signal(agent: AgentProcess, name: NodeJS.Signals): void {
  const { pid } = agent.child.process;
  assert.ok(pid !== undefined);
  process.kill(pid, name);
}

/** The leases by the id of the live agent that holds each; those of the dead are nobody's. */
async function leasesByAgent(): Promise<ReadonlyMap<string, readonly Lease[]>> {
  const [runs, leases] = await Promise.all([metadata.listRuns(), metadata.listLeases(topicId)]);
  return new Map(
    runs
      .filter((it) => it.isLive)
      .map((run) => [run.agentId, leases.filter((it) => it.runId === run.runId)]),
  );
}

/** Every partition has a live holder, and these agents have all of them, each some. Answers after how long, ms. */
async function spreadOver(...agentIds: readonly string[]): Promise<number> {
  const began = performance.now();
  await eventually(`${agentIds.join(", ")} to hold everything`, async () => {
    const held = await leasesByAgent();
    const counts = agentIds.map((it) => held.get(it)?.length ?? 0);
    const sum = counts.reduce((all, it) => all + it, 0);
    return sum === PARTITIONS && counts.every((it) => it > 0);
  });
  return performance.now() - began;
}

/** Sends to every partition in turn, all the time, and keeps what came of each record. */
class Load {
  readonly sent: string[][] = Array.from({ length: PARTITIONS }, () => []);
  readonly offsets = new Map<string, number>();
  readonly failures: unknown[] = [];
  /** When each partition was last acknowledged. */
  readonly ackedAt: number[] = new Array<number>(PARTITIONS).fill(0);
  #over = false;
  readonly #done: Promise<void>;

  constructor(of: House) {
    const producer = of.producer();
    const run = async () => {
      for (let i = 0; !this.#over; i++) {
        const partition = i % PARTITIONS;
        const value = `${i}`;
        this.sent[partition]?.push(value);
        producer.send({ topic: "t", partition, value }).then(
          ({ offset = -1 }) => {
            this.offsets.set(value, offset);
            this.ackedAt[partition] = performance.now();
          },
          (error: unknown) => this.failures.push(error),
        );
        if (i % 8 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await producer.close();
    };
    this.#done = run();
  }

  /** Every partition took records that were sent after this call. Answers after how long, ms. */
  async allGoOn(): Promise<number> {
    const began = performance.now();
    // What is sent from here on is acknowledged later than what was under way.
    const marks = this.sent.map((values) => values.length);
    await eventually("every partition to take records", () =>
      this.sent.every((values, i) => {
        const first = values[marks[i] ?? 0];
        return first !== undefined && this.offsets.has(first);
      }),
    );
    return performance.now() - began;
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#done;
  }
}

before(async () => {
  [s3, postgres] = await Promise.all([startRadosgw(), startPostgres()]);
  metadata = await createPostgresMetadata({}, { url: postgres.url });
  await Promise.all(["a1", "a2"].map(startAgent));
  // One address is enough: the others are learned.
  house = await connect({ agents: [agentOf("a1").grpc], telemetry: false });
  topicId = (await house.admin.createTopic("t", { partitions: PARTITIONS })).id;
  await spreadOver("a1", "a2");
  load = new Load(house);
  await load.allGoOn();
});

after(async () => {
  await load?.stop();
  await house?.close();
  for (const { child } of agents.values()) await child[Symbol.asyncDispose]();
  await metadata?.close();
  await s3?.stop();
  await postgres?.remove();
});

describe("three agents over one bucket and one database, under load", () => {
  it("one that comes is handed its share within a second, and only that moves", async () => {
    const before = await leasesByAgent();
    await startAgent("a3");
    const took = await spreadOver("a1", "a2", "a3");
    assert.ok(took < HAND_OVER_MS_MAX, `${took} ms`);
    const now = await leasesByAgent();
    for (const agentId of ["a1", "a2"]) {
      const had = new Set(before.get(agentId)?.map((it) => `${it.partition} ${it.epoch}`));
      const kept = now.get(agentId) ?? [];
      assert.ok(
        kept.every((it) => had.has(`${it.partition} ${it.epoch}`)),
        agentId,
      );
    }
    await load.allGoOn();
  });

  it("are shown by streamhouse cluster, with leases and load", async () => {
    const look = async () => {
      const { code, stdout } = await cli(["cluster", "--json", "--agents", agentOf("a2").grpc]);
      assert.equal(code, 0);
      return JSON.parse(stdout) as {
        agents: {
          agentId: string;
          state: string;
          leases: number;
          load: { flushesPerSecond: number } | null;
        }[];
        topics: { withoutLease: number }[];
      };
    };
    const seen = await eventually("all three to have told their load", async () => {
      const now = await look();
      return now.agents.every((it) => (it.load?.flushesPerSecond ?? 0) > 0) && now;
    });
    assert.deepEqual(seen.agents.map((it) => it.agentId).sort(), ["a1", "a2", "a3"]);
    assert.equal(
      seen.agents.reduce((sum, it) => sum + it.leases, 0),
      PARTITIONS,
    );
    assert.deepEqual([...new Set(seen.agents.map((it) => it.state))], ["live"]);
    assert.equal(seen.topics[0]?.withoutLease, 0);
  });

  it("one that is stopped for less than its time to live loses no lease", async () => {
    const before = await leasesByAgent();
    const victim = agentOf("a2");
    signal(victim, "SIGSTOP");
    // Longer than a renewal interval; with the one before it well below the time to live.
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    signal(victim, "SIGCONT");
    await load.allGoOn();
    assert.deepEqual(await leasesByAgent(), before);
  });

  it("are restarted one after another: others take over within a second, /ready says so meanwhile, no send fails", async () => {
    for (const agentId of ["a1", "a2", "a3"]) {
      const old = agentOf(agentId);
      assert.equal((await fetch(`${old.http}/ready`)).status, 200);
      const others = ["a1", "a2", "a3"].filter((it) => it !== agentId);
      const ending = old.child.end("SIGTERM");
      const took = await spreadOver(...others);
      assert.ok(took < HAND_OVER_MS_MAX, `${agentId}: ${took} ms`);
      const { code, stderr } = await ending;
      assert.equal(code, 0, stderr);
      await load.allGoOn();
      await startAgent(agentId);
      await spreadOver("a1", "a2", "a3");
      await load.allGoOn();
      assert.deepEqual(load.failures, []);
    }
  });

  it("one that is killed is followed within its time to live and two seconds", async () => {
    const killed = performance.now();
    await agentOf("a3").child.end("SIGKILL");
    await spreadOver("a1", "a2");
    const took = performance.now() - killed;
    assert.ok(took < TAKE_OVER_MS_MAX, `leases: ${took} ms`);
    await load.allGoOn();
    const again = performance.now() - killed;
    assert.ok(again < TAKE_OVER_MS_MAX, `producing again: ${again} ms`);
  });

  it("lost nothing, have nothing twice, and kept the order of each partition", async () => {
    await load.stop();
    assert.deepEqual(load.failures, [], "no send failed");
    await using reader = await connect({ agents: [agentOf("a2").grpc], telemetry: false });
    const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({
      topic: "t",
      partition,
    }));
    const consumer = reader.consumer({ assign: partitions, offsetReset: "earliest" });
    const read: string[][] = Array.from({ length: PARTITIONS }, () => []);
    let left = load.offsets.size;
    for await (const record of consumer) {
      const values = read[record.partition] ?? [];
      assert.equal(record.offset, values.length, "offsets are contiguous");
      values.push(record.text());
      left--;
      if (left === 0) break;
    }
    await consumer.close();
    assert.deepEqual(read, load.sent);
    for (const [partition, values] of read.entries()) {
      values.forEach((value, offset) => {
        assert.equal(
          load.offsets.get(value),
          offset,
          `partition ${partition}: as it was acknowledged`,
        );
      });
    }
    const ends = await reader.admin.offsets("t", "latest");
    assert.deepEqual(
      ends.map((it) => it.offset),
      load.sent.map((it) => it.length),
    );
  });
});
