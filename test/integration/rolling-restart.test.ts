/**
 * Three agents over gRPC are replaced one after another while producers send: no send fails, nothing is there twice, each producer's
 * order is kept, and the sums of what was sent and written agree.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { systemClock } from "../../src/core/clock.ts";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createSqliteMetadata } from "../../src/metadata/sqlite.ts";
import type { Producer } from "../../src/producer/producer.ts";
import { type Served, serve } from "../../src/serve/serve.ts";
import { createMemoryStore } from "../../src/storage/memory.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import { discrepancies } from "../fault/telemetry/audit-reading.ts";
import { totalOf } from "../fault/telemetry/measured-house.ts";
import { capturingProvider } from "../fault/telemetry/sabotage.ts";
import { eventually } from "./child.ts";

const PARTITIONS = 6;

interface Shared {
  readonly metadata: MetadataStore;
  readonly store: ObjectStore;
}

function start({ metadata, store }: Shared, agentId: string): Promise<Served> {
  return serve({
    ...{ metadata, store, grpc: "127.0.0.1:0", http: false },
    telemetry: { meterProvider: capturingProvider().meterProvider },
    agent: { agentId, leaseTtlMs: 60_000, leaseRenewMs: 1_000 },
  });
}

/** Sends to every partition in turn, all the time, and keeps what came of each record. */
class Load {
  readonly values: string[][] = Array.from({ length: PARTITIONS }, () => []);
  readonly offsets: Map<string, number> = new Map();
  readonly failures: unknown[] = [];
  #over = false;
  readonly #loop: Promise<void>;

  constructor(producer: Producer, name: string) {
    const run = async () => {
      for (let i = 0; !this.#over; i++) {
        const partition = i % PARTITIONS;
        const value = `${name}:${i}`;
        this.values[partition]?.push(value);
        producer.send({ topic: "t", partition, value }).then(
          ({ offset = -1 }) => this.offsets.set(value, offset),
          (error: unknown) => this.failures.push(error),
        );
        if (i % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      }
    };
    this.#loop = run();
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#loop;
  }
}

async function readPartition(house: House, partition: number, count: number): Promise<string[]> {
  const consumer = house.consumer({ assign: [{ topic: "t", partition }], offsetReset: "earliest" });
  const values: string[] = [];
  for await (const record of consumer) {
    assert.equal(record.offset, values.length, "offsets are contiguous");
    values.push(record.text());
    if (values.length === count) break;
  }
  await consumer.close();
  return values;
}

async function rollOver(shared: Shared, served: Served[], loads: readonly Load[]): Promise<void> {
  for (const [i, old] of served.entries()) {
    await old.stop();
    served[i] = await start(shared, `agent-${i}`);
    // Every partition is written again, before the next one goes.
    const before = loads.map((it) => it.offsets.size);
    await eventually("every producer to go on", () =>
      loads.every((load, k) => load.offsets.size > (before[k] ?? 0) + 20 * PARTITIONS),
    );
  }
}

describe("a rolling restart of three agents under load", () => {
  it("fails no send, doubles nothing, and keeps order", async () => {
    const shared = {
      metadata: createSqliteMetadata({ path: ":memory:", clock: systemClock }),
      store: createMemoryStore(),
    };
    const served = await Promise.all([0, 1, 2].map((i) => start(shared, `agent-${i}`)));
    const { meterProvider, registries } = capturingProvider();
    const agents = served.map((it) => it.grpc);
    const house = await connect({ agents, telemetry: { meterProvider } });
    await house.admin.createTopic("t", { partitions: PARTITIONS });
    const producers = [1, 2].map(() => house.producer({ lingerMs: 1 }));
    const loads = producers.map((it, i) => new Load(it, `${i}`));
    const seen = new Set(served);
    try {
      await rollOver(shared, served, loads);
      for (const it of served) seen.add(it);
    } finally {
      for (const it of loads) await it.stop();
    }
    for (const it of producers) await it.flush();
    assert.deepEqual(
      loads.flatMap((it) => it.failures),
      [],
    );

    let total = 0;
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const sent = loads.map((it) => it.values[partition] ?? []);
      const count = sent.reduce((sum, it) => sum + it.length, 0);
      total += count;
      const read = await readPartition(house, partition, count);
      for (const [i, values] of sent.entries()) {
        const its = read.filter((it) => it.startsWith(`${i}:`));
        assert.deepEqual(its, values, `producer ${i}, partition ${partition}: each once, in order`);
        for (const value of values) assert.equal(read[loads[i]?.offsets.get(value) ?? -1], value);
      }
    }
    const metrics = [...seen].map((it) => it.agent.telemetry.metrics);
    assert.equal(totalOf(registries, catalogue.recordsSent), total);
    for (const it of served) {
      for (const [law, off] of discrepancies(it.agent.telemetry.metrics)) assert.equal(off, 0, law);
    }
    for (const it of registries) {
      for (const [law, off] of discrepancies(it)) assert.equal(off, 0, law);
    }
    assert.equal(totalOf(metrics, catalogue.recordsWritten), total, "sent is written");
    for (const it of producers) await it.close();
    await house.close();
    for (const it of served) await it.stop();
    await shared.store.close();
    await shared.metadata.close();
  });
});
