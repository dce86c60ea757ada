/**
 * A real agent under load while its database crashes: the primary is killed and its synchronous standby takes over, or the same server
 * comes back. Records are in memory: what is at stake here is metadata. Every acknowledged record is read back, once and in order.
 */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import {
  type PostgresPair,
  startPostgres,
  startPostgresPair,
} from "../../scripts/backends/postgres.ts";
import type { LogFields, Logger } from "../../src/core/logger.ts";
import { createPostgresMetadata } from "../../src/metadata/postgres.ts";
import { type EmbeddedHouse, embed } from "../../src/serve/embed.ts";
import { createMemoryStore } from "../../src/storage/memory.ts";
import { eventually } from "../integration/child.ts";

const PARTITIONS = 4;
const cleanUps: (() => Promise<void>)[] = [];
after(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
});

class Warnings implements Logger {
  readonly said: string[] = [];
  debug(): void {}
  info(): void {}
  warn(message: string, _fields?: LogFields): void {
    this.said.push(message);
  }
  error(message: string, fields?: LogFields): void {
    this.said.push(`${message} ${String(fields?.error)}`);
  }
}

async function houseOver(url: string, logger: Logger): Promise<EmbeddedHouse> {
  const metadata = await createPostgresMetadata({ logger }, { url, connectTimeoutMs: 2_000 });
  const house = await embed({ store: createMemoryStore(), metadata, telemetry: false });
  cleanUps.push(async () => {
    await house.close();
    await metadata.close();
  });
  await house.admin.createTopic("orders", { partitions: PARTITIONS });
  return house;
}

/** Sends until it is told to stop, a few at a time. */
class Load {
  readonly acknowledged: string[] = [];
  readonly failed: string[] = [];
  readonly #house: EmbeddedHouse;
  readonly #running: Promise<void>;
  #over = false;

  constructor(house: EmbeddedHouse) {
    this.#house = house;
    this.#running = this.#run();
  }

  async reaches(count: number): Promise<void> {
    await eventually(`${count} acknowledged records`, () => this.acknowledged.length >= count);
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    const producer = this.#house.producer({ lingerMs: 1 });
    for (let n = 0; !this.#over; n += PARTITIONS) {
      const sends = Array.from({ length: PARTITIONS }, async (_, partition) => {
        const value = `${partition}:${n}`;
        try {
          await producer.send({ topic: "orders", partition, value });
          this.acknowledged.push(value);
        } catch (error) {
          this.failed.push(`${value} ${String(error)}`);
        }
      });
      await Promise.all(sends);
    }
    await producer.close();
  }
}

/** Everything in the topic, in the order of each partition. */
async function readAll(house: EmbeddedHouse, count: number): Promise<string[]> {
  const partitions = Array.from({ length: PARTITIONS }, (_, i) => i);
  const assign = partitions.map((partition) => ({ topic: "orders", partition }));
  const consumer = house.consumer({ assign, offsetReset: "earliest" });
  const read: string[] = [];
  await eventually(`${count} records to read`, async () => {
    for (const record of await consumer.poll(200)) read.push(record.text());
    return read.length >= count;
  });
  for (const record of await consumer.poll(200)) read.push(record.text());
  await consumer.close();
  return read;
}

async function checkAll(house: EmbeddedHouse, load: Load): Promise<void> {
  assert.deepEqual(load.failed, []);
  const read = await readAll(house, load.acknowledged.length);
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const of = (values: readonly string[]) => values.filter((it) => it.startsWith(`${partition}:`));
    assert.deepEqual(of(read), of(load.acknowledged));
  }
}

describe("a database that crashes under an agent's load", () => {
  it("loses nothing that was acknowledged when a synchronous standby takes over", async () => {
    const pair: PostgresPair = await startPostgresPair();
    cleanUps.push(() => pair.remove());
    const warnings = new Warnings();
    const house = await houseOver(pair.urlOf("postgres"), warnings);
    assert.ok(!warnings.said.some((it) => it.includes("synchronous_standby_names")));
    const load = new Load(house);
    await load.reaches(200);
    await pair.primary.stop("immediate");
    await pair.standby.promote();
    await load.reaches(load.acknowledged.length + 200);
    // The new primary stands alone, and its agents say so.
    assert.ok(warnings.said.some((it) => it.includes("synchronous_standby_names is empty")));
    // The old primary comes back and believes that nothing happened: nobody listens to it.
    await pair.primary.start();
    await load.reaches(load.acknowledged.length + 100);
    await load.stop();
    await checkAll(house, load);
    const flushes = await pair.primary.query(
      "SELECT count(*)::int AS flushes FROM streamhouse.flushes",
    );
    const newer = await pair.standby.query(
      "SELECT count(*)::int AS flushes FROM streamhouse.flushes",
    );
    assert.ok(Number(newer[0]?.flushes) > Number(flushes[0]?.flushes));
  });

  it("is not taken for an older one that comes back and knows nothing of the fail-over", async () => {
    const { primary, standby, urlOf, remove } = await startPostgresPair();
    cleanUps.push(remove);
    const metadata = await createPostgresMetadata({}, { url: urlOf("postgres") });
    cleanUps.push(() => metadata.close());
    await primary.stop("immediate");
    await standby.promote();
    await metadata.createTopic({ name: "after", partitions: 1, retentionMs: 0 });
    // It comes back without waiting for a standby: nothing but its timeline tells that it was left behind.
    await primary.start();
    await primary.query("ALTER SYSTEM RESET synchronous_standby_names");
    await primary.query("SELECT pg_reload_conf()");
    await standby.stop("immediate");
    await assert.rejects(metadata.listTopics(), /timeline 1 was left by a fail-over to 2/);
    await standby.start();
    assert.deepEqual(
      (await metadata.listTopics()).map((it) => it.name),
      ["after"],
    );
  });

  it("loses nothing and fails no send when the server is started again, gentle or not", async () => {
    const server = await startPostgres();
    cleanUps.push(() => server.remove());
    const house = await houseOver(server.url, new Warnings());
    const load = new Load(house);
    await load.reaches(100);
    for (const mode of ["immediate", "fast"] as const) {
      await server.stop(mode);
      await server.start();
      await load.reaches(load.acknowledged.length + 100);
    }
    await load.stop();
    await checkAll(house, load);
  });
});
