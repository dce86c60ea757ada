/** An agent that dies or is stopped in the middle of producing: everything acknowledged is there, once and in order. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { type AgentProcess, eventually, startAgent } from "./child.ts";
import { temporaryFolder } from "./ways.ts";

const partitions = 3;

interface Sent {
  readonly partition: number;
  readonly offset: number;
  readonly number: number;
}

/** Sends numbered records until told to stop; at most so many unanswered, so that the log stays small. */
class SteadySender {
  readonly acknowledged: Sent[] = [];
  readonly failures: unknown[] = [];
  #number = 0;
  #stopped = false;
  readonly #done: Promise<void>;

  constructor(house: House, topic: string) {
    this.#done = this.#run(house, topic);
  }

  get sent(): number {
    return this.#number;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }

  async #run(house: House, topic: string): Promise<void> {
    const producer = house.producer({ lingerMs: 1, batchBytes: 8_192, retryBackoffMs: 20 });
    while (!this.#stopped) {
      await eventually("room to send", () => this.#stopped || producer.pending < 500);
      for (let i = 0; i < 50; i++) {
        const number = this.#number++;
        producer.send({ topic, key: `${number % 10}`, value: `${number}` }).then(
          ({ partition, offset = -1 }) => this.acknowledged.push({ partition, offset, number }),
          (error: unknown) => this.failures.push(error),
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await producer.close();
  }
}

/** Reads the topic from the beginning to its end. */
async function readAll(house: House, topic: string): Promise<Sent[]> {
  const ends = await house.admin.offsets(topic, "latest");
  const total = ends.reduce((sum, { offset }) => sum + offset, 0);
  const assign = ends.map(({ partition }) => ({ topic, partition, offset: 0 }));
  await using consumer = house.consumer({ assign });
  const read: Sent[] = [];
  for await (const record of consumer) {
    const { partition, offset } = record;
    read.push({ partition, offset, number: Number(record.text()) });
    if (read.length === total) break;
  }
  return read;
}

function assertExactlyOnceInOrder(sender: SteadySender, read: readonly Sent[]): void {
  assert.deepEqual(sender.failures, []);
  assert.equal(sender.acknowledged.length, sender.sent);
  const numbers = read.map((record) => record.number).toSorted((a, b) => a - b);
  assert.deepEqual(
    numbers,
    Array.from({ length: sender.sent }, (_, i) => i),
  );
  for (let partition = 0; partition < partitions; partition++) {
    const mine = read.filter((record) => record.partition === partition);
    for (const [i, record] of mine.entries()) {
      assert.equal(record.offset, i);
      if (i > 0) assert.ok(record.number > (mine[i - 1]?.number ?? 0), `order at offset ${i}`);
    }
  }
  const where = new Map(read.map((record) => [record.number, record]));
  for (const sent of sender.acknowledged) assert.deepEqual(where.get(sent.number), sent);
}

async function produceThrough(
  interrupt: (agent: AgentProcess) => Promise<void>,
  times: number,
): Promise<void> {
  const folder = await temporaryFolder();
  let agent = await startAgent(folder.path);
  const house = await connect({ agents: [agent.grpc], telemetry: false });
  try {
    await house.admin.createTopic("numbers", { partitions });
    const sender = new SteadySender(house, "numbers");
    for (let i = 0; i < times; i++) {
      const before = sender.acknowledged.length;
      await eventually("records to be acknowledged", () => sender.acknowledged.length > before);
      await interrupt(agent);
      agent = await startAgent(folder.path, agent.grpc);
    }
    const before = sender.acknowledged.length;
    await eventually("the producer to go on", () => sender.acknowledged.length > before + 500);
    await sender.stop();
    assertExactlyOnceInOrder(sender, await readAll(house, "numbers"));
  } finally {
    await house.close();
    await agent.child.end("SIGKILL");
    await folder.remove();
  }
}

describe("an agent that restarts while a producer sends", () => {
  it("has everything exactly once and in order after kill -9, three times", async () => {
    await produceThrough(async (agent) => {
      const { signal } = await agent.child.end("SIGKILL");
      assert.equal(signal, "SIGKILL");
    }, 3);
  });

  it("drains at SIGTERM in mid-flush and exits with 0; nothing fails and nothing is doubled", async () => {
    await produceThrough(async (agent) => {
      const { code } = await agent.child.end("SIGTERM");
      assert.equal(code, 0, agent.child.stderr);
    }, 2);
  });
});

describe("what an agent knew before kill -9", () => {
  it("is there at once after the restart: topics, records, groups, and where the offsets go on", async () => {
    const folder = await temporaryFolder();
    let agent = await startAgent(folder.path);
    let house = await connect({ agents: [agent.grpc], telemetry: false });
    const topic = await house.admin.createTopic("state", {
      partitions: 2,
      retentionMs: 86_400_000,
    });
    const first = house.producer();
    const records = Array.from({ length: 100 }, (_, i) => ({ partition: 1, value: `${i}` }));
    await first.sendBatch({ topic: "state", records });
    const consumer = house.consumer({ group: "readers", topics: ["state"], autoCommit: false });
    let seen = 0;
    for await (const _ of consumer) {
      seen += 1;
      if (seen < 40) continue;
      await consumer.commit();
      break;
    }
    // It leaves, so that its successor need not wait for the end of its session.
    await consumer.close();
    await agent.child.end("SIGKILL");
    await house.close();

    agent = await startAgent(folder.path);
    house = await connect({ agents: [agent.grpc], telemetry: false });
    assert.deepEqual(await house.admin.listTopics(), [topic]);
    const { lags } = await house.admin.describeGroup("readers");
    const lag = lags.find((it) => it.partition === 1);
    assert.deepEqual([lag?.committedOffset, lag?.highWatermark], [40, 100]);
    const sent = await house.producer().send({ topic: "state", partition: 1, value: "100" });
    assert.equal(sent.offset, 100);
    const again = house.consumer({ group: "readers", topics: ["state"] });
    const rest: string[] = [];
    for await (const record of again) {
      rest.push(record.text());
      if (rest.length === 61) break;
    }
    assert.deepEqual(
      rest,
      Array.from({ length: 61 }, (_, i) => `${i + 40}`),
    );
    await house.close();
    await agent.child.end();
    await folder.remove();
  });
});
