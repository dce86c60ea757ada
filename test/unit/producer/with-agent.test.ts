/** The producer over a real agent (stores in memory, in-process transport), which is stopped or killed and started again meanwhile. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Agent, createAgent } from "../../../src/agent/agent.ts";
import { createCluster } from "../../../src/client/cluster.ts";
import { createInProcessTransport } from "../../../src/client/in-process-transport.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { createUlid } from "../../../src/core/ids.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import { decodeBatch, plainRecord } from "../../../src/format/batch-decoder.ts";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import { createProducer, type Producer } from "../../../src/producer/producer.ts";
import type { AgentApi } from "../../../src/rpc/agent-api.ts";
import { createMemoryStore } from "../../../src/storage/memory.ts";
import { createObjectSink } from "../../../src/storage/object-sink.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { type Faults, withFaults } from "../../fault/faulty-metadata.ts";
import { seededRandom } from "./setup.ts";

function away(outcome: "none" | "unknown"): StreamHouseError {
  const message = "the agent is away";
  return new StreamHouseError({ code: "AGENT_UNREACHABLE", kind: "unavailable", outcome, message });
}

/** One place where agents come and go; what they hold stays. */
class Site {
  readonly clock = new ManualClock();
  readonly #metadata = createSqliteMetadata({ path: ":memory:", clock: this.clock });
  readonly #store = createMemoryStore({ clock: this.clock });
  #agent: Agent | undefined;
  #faults: Faults | undefined;
  #starts = 0;
  /** The way to whatever agent there is; answers of one that was killed are lost. */
  readonly api: AgentApi = new Proxy({} as AgentApi, {
    get: (_target, name: keyof AgentApi) => async (request: never, call: never) => {
      const agent = this.#agent;
      if (agent === undefined) throw away("none");
      const answer: unknown = await agent.api[name](request, call);
      if (this.#agent !== agent) throw away("unknown");
      return answer;
    },
  });

  async start(): Promise<void> {
    const random = seededRandom(100 + ++this.#starts);
    const [clock, store] = [this.clock, this.#store];
    const { metadata, faults } = withFaults(this.#metadata);
    const runId = createUlid(clock.now(), random);
    const sink = createObjectSink({ store, clock });
    const agent = createAgent(
      { metadata, store, sink, clock, random, logger: silentLogger, telemetry: false },
      { predecessorsDead: true, agentId: "a1", runId },
    );
    await clock.until(agent.start());
    this.#agent = agent;
    this.#faults = faults;
  }

  async stop(): Promise<void> {
    const agent = this.#agent;
    assert.ok(agent);
    await this.clock.until(agent.stop());
    this.#agent = undefined;
  }

  /** What it had asked of metadata is done; nothing that it answers or asks from now on is heard. */
  kill(): void {
    if (this.#faults !== undefined) this.#faults.down = true;
    this.#agent = undefined;
  }

  /** The new topic's id. */
  async createTopic(name: string, partitions = 1): Promise<string> {
    const answer = this.api.createTopic({ name, partitions, retentionMs: 0 }, {});
    const { topic } = await this.clock.until(answer);
    return topic?.topicId ?? "";
  }

  /** Every value of a partition, by offset. */
  async read(topicId: string, partition = 0): Promise<string[]> {
    const values: string[] = [];
    for (;;) {
      const offset = values.length;
      const answer = this.api.fetch(
        {
          partitions: [{ topicId, partition, offset, maxBytes: 0 }],
          maxWaitMs: 0,
          minBytes: 1,
          maxBytes: 0,
          group: "",
          memberId: "",
          memberEpoch: 0,
        },
        {},
      );
      const { partitions } = await this.clock.until(answer);
      for (const { records } of partitions[0]?.batches ?? []) {
        const decoded = await decodeBatch(records, plainRecord, { fromOffset: values.length });
        for (const it of decoded) {
          assert.equal(it.offset, values.length, "offsets are contiguous");
          values.push(new TextDecoder().decode(it.value ?? new Uint8Array()));
        }
      }
      if (values.length === offset) return values;
    }
  }

  producer(options = {}): Producer {
    const components = { clock: this.clock, random: seededRandom(5), logger: silentLogger };
    const cluster = createCluster(createInProcessTransport(this.api, components), components);
    return createProducer({ ...components, cluster, clientId: "test", telemetry: false }, options);
  }
}

/**
 * For work that takes real time (compressing has threads of its own): the clock may not jump to the next deadline meanwhile, so
 * it goes on a millisecond at each look, which is far from any deadline before the real one of this wait.
 */
async function slowly<T>(clock: ManualClock, promise: Promise<T>): Promise<T> {
  let done = false;
  const watched = promise.finally(() => {
    done = true;
  });
  watched.catch(() => {});
  for (const end = performance.now() + 30_000; !done && performance.now() < end; ) {
    await clock.run(1);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return watched;
}

describe("a producer with an agent", () => {
  it("sends and gets offsets; what it was told is what is read", async () => {
    const site = new Site();
    await site.start();
    const topicId = await site.createTopic("orders", 2);
    const producer = site.producer();
    const sends = Array.from({ length: 50 }, (_, i) =>
      producer.send({ topic: "orders", partition: i % 2, value: `${i}` }),
    );
    const results = await site.clock.until(Promise.all(sends));
    for (const partition of [0, 1]) {
      const read = await site.read(topicId, partition);
      results.forEach((it, i) => {
        if (it.partition === partition) assert.equal(read[it.offset ?? -1], `${i}`);
      });
      assert.equal(read.length, 25);
    }
    await site.clock.until(producer.close());
    await site.stop();
    assert.equal(site.clock.pending, 0);
  });

  for (const compression of ["gzip", "zstd"] as const) {
    it(`sends batches compressed with ${compression}`, async () => {
      const site = new Site();
      await site.start();
      const topicId = await site.createTopic("t");
      const producer = site.producer({ compression, batchBytes: 1_000 });
      const records = Array.from({ length: 200 }, (_, i) => ({ value: `record ${i}` }));
      const sent = await slowly(site.clock, producer.sendBatch({ topic: "t", records }));
      assert.equal(sent.count, 200);
      assert.deepEqual(
        await site.read(topicId),
        records.map((it) => it.value),
      );
      await site.clock.until(producer.close());
      await site.stop();
    });
  }

  it("is told the agent's reason when a record is refused", async () => {
    const site = new Site();
    await site.start();
    await site.createTopic("t");
    const producer = site.producer();
    const far = producer.send({ topic: "t", value: "x", timestamp: site.clock.now() + 10_000_000 });
    const near = producer.send({ topic: "nope", value: "x" });
    const [a, b] = await site.clock.until(Promise.allSettled([far, near]));
    assert.equal(a.status === "rejected" && a.reason.code, "TIMESTAMP_OUT_OF_BOUNDS");
    assert.equal(b.status === "rejected" && b.reason.code, "TOPIC_NOT_FOUND");
    await site.clock.until(producer.close());
    await site.stop();
  });

  it("writes to a topic that was deleted and made anew from its beginning", async () => {
    const site = new Site();
    await site.start();
    await site.createTopic("t");
    const producer = site.producer();
    await site.clock.until(producer.send({ topic: "t", value: "old" }));
    await site.clock.until(site.api.deleteTopic({ name: "t" }, {}));
    const topicId = await site.createTopic("t");
    const sent = await site.clock.until(producer.send({ topic: "t", value: "new" }));
    assert.equal(sent.offset, 0);
    assert.deepEqual(await site.read(topicId), ["new"]);
    await site.clock.until(producer.close());
    await site.stop();
  });

  for (const way of ["stopped", "killed"] as const) {
    it(`loses nothing, doubles nothing and keeps order when the agent is ${way} and started again in the middle`, async () => {
      const site = new Site();
      await site.start();
      const topicId = await site.createTopic("t", 3);
      const producer = site.producer({ lingerMs: 1, batchBytes: 300 });
      const settled: Promise<unknown>[] = [];
      const told = [0, 1, 2].map(() => new Map<number, string>());
      const expected: string[][] = [[], [], []];
      const sendSome = (from: number) => {
        for (let i = from; i < from + 120; i++) {
          const partition = i % 3;
          expected[partition]?.push(`${i}`);
          const send = producer.send({ topic: "t", partition, value: `${i}` });
          settled.push(send.then(({ offset = -1 }) => told[partition]?.set(offset, `${i}`)));
        }
      };
      for (let round = 0; round < 6; round++) {
        sendSome(round * 120);
        await site.clock.run(2);
        if (round % 2 === 0) continue;
        if (way === "stopped") await site.stop();
        else site.kill();
        sendSome(10_000 + round * 120);
        await site.clock.run(300);
        await site.start();
      }
      await site.clock.until(Promise.all(settled));
      for (const partition of [0, 1, 2]) {
        const read = await site.read(topicId, partition);
        assert.deepEqual(read, expected[partition]);
        assert.deepEqual(
          read.map((_, offset) => told[partition]?.get(offset)),
          expected[partition],
        );
      }
      await site.clock.until(producer.close());
    });
  }
});
