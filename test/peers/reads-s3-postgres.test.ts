/**
 * Consumers over three real agent processes, a real S3 server and a real PostgreSQL: some read from the holder and some from any agent,
 * one agent is killed and comes back, and each consumer is given exactly what was acknowledged. What a later agent pays for reading the
 * backlog is counted at the store.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import { type Radosgw, startRadosgw } from "../../scripts/backends/radosgw.ts";
import { type Consumer, type ConsumerOptions, connect, type House } from "../../src/index.ts";
import { createPostgresMetadata } from "../../src/metadata/postgres.ts";
import { type AgentProcess, eventually, startCli } from "../integration/child.ts";

const PARTITIONS = 6;

let s3: Radosgw;
let postgres: PostgresServer;
const agents: AgentProcess[] = [];

before(async () => {
  [s3, postgres] = await Promise.all([startRadosgw(), startPostgres()]);
});
after(async () => {
  for (const { child } of agents) await child[Symbol.asyncDispose]();
  await s3.stop();
  await postgres.remove();
});

async function startAgent(agentId: string): Promise<AgentProcess> {
  const args = [
    ...["agent", "--agent-id", agentId, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"],
    ...["--store", s3.url("reads"), "--metadata", postgres.url],
  ];
  const child = startCli(args, { env: { ...s3.env } });
  child.process.stdin.end();
  const line = await child.says(`${agentId} to serve`, (out) => /^\{.*\}$/m.exec(out)?.[0]);
  const agent = { child, ...(JSON.parse(line) as Omit<AgentProcess, "child">) };
  agents.push(agent);
  return agent;
}

/** The sum of the samples of a family that have these labels. */
async function metric(agent: AgentProcess, name: string, label = ""): Promise<number> {
  const text = await (await fetch(`${agent.http}/metrics`)).text();
  return text
    .split("\n")
    .filter((it) => it.startsWith(`${name}{`) && it.includes(label))
    .reduce((sum, it) => sum + Number(it.slice(it.lastIndexOf(" ") + 1)), 0);
}

/** What one consumer was given, in order, with the consumer behind it. */
class Reading {
  readonly name: string;
  readonly values: string[][] = Array.from({ length: PARTITIONS }, () => []);
  readonly #consumer: Consumer;
  readonly #done: Promise<void>;
  count = 0;

  constructor(house: House, name: string, options: Partial<ConsumerOptions>) {
    this.name = name;
    this.#consumer = house.consumer({
      assign: Array.from({ length: PARTITIONS }, (_, partition) => ({ topic: "t", partition })),
      ...options,
    });
    this.#done = this.#read();
  }

  async #read(): Promise<void> {
    for await (const { offset, partition, ...record } of this.#consumer) {
      const values = this.values[partition] as string[];
      assert.equal(offset, values.length, `${this.name}: no gap and no repetition`);
      values.push(new TextDecoder().decode(record.value ?? new Uint8Array(0)));
      this.count++;
    }
  }

  async until(count: number): Promise<void> {
    const failed = this.#done.then(() => assert.fail(`${this.name} ended early`));
    await Promise.race([
      failed,
      eventually(`${this.name} to read ${count}`, () => this.count >= count),
    ]);
  }

  async close(): Promise<void> {
    this.#done.catch(() => {});
    await this.#consumer.close();
  }
}

describe("consumers over three agents, S3 and PostgreSQL", () => {
  it("are given exactly what was acknowledged, wherever they read and whoever dies", async () => {
    const first = await Promise.all(["a", "b", "c"].map(startAgent));
    const house = await connect({ agents: first.map((it) => it.grpc) });
    await house.admin.createTopic("t", { partitions: PARTITIONS });
    const acknowledged: string[][] = Array.from({ length: PARTITIONS }, () => []);
    const producer = house.producer({ lingerMs: 5 });
    let sent = 0;
    const produce = async (rounds: number) => {
      for (let round = 0; round < rounds; round++) {
        await Promise.all(
          Array.from({ length: 30 }, async () => {
            const partition = sent % PARTITIONS;
            const value = `${sent++} `.padEnd(2_000, "x");
            const { offset } = await producer.send({ topic: "t", partition, value });
            (acknowledged[partition] as string[])[offset ?? -1] = value;
          }),
        );
      }
    };
    await produce(5);
    const kinds = ["holder", "any", "any", "any", "any", "any", "any", "any"] as const;
    // Each with a client of its own, as in as many processes.
    const houses = await Promise.all(
      kinds.map(() => connect({ agents: first.map((it) => it.grpc) })),
    );
    const readings = kinds.map((readFrom, i) => {
      return new Reading(houses[i] as House, `${readFrom} ${i}`, { readFrom });
    });
    await produce(8);
    for (const reading of readings) await reading.until(sent);
    const elsewhere = await Promise.all(
      first.map((it) => metric(it, "streamhouse_bytes_fetched_unheld_total")),
    );
    assert.ok(
      elsewhere.filter((it) => it > 0).length >= 2,
      `reads spread over the agents: ${elsewhere}`,
    );
    first[1]?.child.process.kill("SIGKILL");
    await produce(8);
    await startAgent("b");
    await produce(3);
    for (const reading of readings) await reading.until(sent);
    for (const { name, values } of readings) assert.deepEqual(values, acknowledged, name);
    for (const reading of readings) await reading.close();
    await producer.close();
    for (const it of houses) await it.close();
    await house.close();
    for (const { child } of agents.splice(0)) await child[Symbol.asyncDispose]();

    // The day after, an agent with nothing in memory.
    const reader = await startAgent("d");
    const later = await connect({ agents: [reader.grpc] });
    const name = "streamhouse_store_operation_duration_seconds_count";
    const before = await metric(reader, name, 'operation="get"');
    const reading = new Reading(later, "later", {});
    await reading.until(sent);
    assert.deepEqual(reading.values, acknowledged);
    const gets = (await metric(reader, name, 'operation="get"')) - before;
    // Small objects are read whole: none of them twice, however many partitions lie in it.
    const metadata = await createPostgresMetadata({}, { url: postgres.url });
    const flushes = (await metadata.listFlushes(0, 100_000)).length;
    await metadata.close();
    assert.ok(flushes > 10 && gets <= flushes, `${gets} requests for ${flushes} flushes`);
    await reading.close();
    await later.close();
  });
});
