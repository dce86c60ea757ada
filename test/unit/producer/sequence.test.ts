import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readBatchHeader } from "../../../src/format/batch-header.ts";
import { nextSequence } from "../../../src/producer/sequence.ts";
import { settle } from "../../../src/testing/manual-clock.ts";
import { type FakeCluster, fault } from "./fake-agents.ts";
import { errorOf, resultOf, setUp, watch } from "./setup.ts";

const lost = fault("AGENT_UNREACHABLE", "unavailable", { outcome: "unknown" });

/** `producerId/epoch/sequence` of every batch, in the order in which agents saw them. */
function marks(cluster: FakeCluster, partition?: number): string[] {
  return cluster.agents.flatMap((agent) =>
    agent.requests.flatMap(({ batches }) =>
      batches
        .filter((it) => partition === undefined || it.partition === partition)
        .map(({ records }) => {
          const { producerId, producerEpoch, baseSequence } = readBatchHeader(records);
          return `${producerId}/${producerEpoch}/${baseSequence}`;
        }),
    ),
  );
}

describe("sequences", () => {
  it("wrap after 2^31 - 1, as Kafka's", () => {
    assert.equal(nextSequence(2_147_483_640, 7), 2_147_483_647);
    assert.equal(nextSequence(2_147_483_640, 10), 2);
  });

  it("follow each other in a partition, and start at 0 in each", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0 });
    cluster.addTopic("t", 2);
    for (const count of [2, 3, 1]) {
      for (let i = 0; i < count; i++)
        watch(producer.send({ topic: "t", partition: 0, value: "x" }));
      await settle();
    }
    watch(producer.send({ topic: "t", partition: 1, value: "x" }));
    await clock.run(10);
    assert.deepEqual(marks(cluster, 0), ["1/0/0", "1/0/2", "1/0/5"]);
    assert.deepEqual(marks(cluster, 1), ["1/0/0"]);
    assert.equal(cluster.log.inits.length, 1);
  });

  it("are asked for when the first record is sent, again and again until an agent answers", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("t");
    let tries = 0;
    cluster.agent.onInit = () => {
      if (++tries < 3) throw fault("METADATA_UNAVAILABLE");
    };
    await clock.run(100);
    assert.equal(tries, 0);
    const send = watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(1_000);
    assert.equal(resultOf(send).offset, 0);
    assert.equal(tries, 3);
  });

  it("that no agent will ever give fail the records with the reason", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("t");
    cluster.agent.onInit = () => {
      throw fault("NOT_SUPPORTED", "invalid");
    };
    const send = watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(100);
    assert.deepEqual([errorOf(send).code, errorOf(send).outcome], ["NOT_SUPPORTED", "none"]);
  });

  it("of a batch that was refused for good pass to the next one", async () => {
    const { cluster, clock, producer } = setUp();
    const topic = cluster.addTopic("t");
    cluster.agent.script = (_request, _call, nth) =>
      nth === 1 ? { batchError: fault("TIMESTAMP_OUT_OF_BOUNDS", "invalid"), apply: false } : {};
    const bad = watch(producer.send({ topic: "t", value: "bad" }));
    await clock.run(10);
    const good = watch(producer.send({ topic: "t", value: "good" }));
    await clock.run(10);
    assert.equal(errorOf(bad).outcome, "none");
    assert.equal(resultOf(good).offset, 0);
    assert.deepEqual(marks(cluster), ["1/0/0", "1/0/0"]);
    assert.deepEqual(cluster.log.values(topic.id, 0), ["good"]);
  });

  it("begin anew in the next epoch when a batch is given up with others behind it", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0 });
    const topic = cluster.addTopic("t");
    const answers = Promise.withResolvers<void>();
    cluster.agent.script = (_request, _call, nth) => {
      if (nth === 2) {
        const batchError = fault("TIMESTAMP_OUT_OF_BOUNDS", "invalid");
        return { until: answers.promise, batchError, apply: false };
      }
      return nth <= 4 ? { until: answers.promise } : {};
    };
    const sends = [];
    for (const value of ["a", "bad", "c", "d"]) {
      sends.push(watch(producer.send({ topic: "t", value })));
      await settle();
    }
    answers.resolve();
    await clock.run(1_000);
    const [a, bad, c, d] = sends;
    assert.ok(a && bad && c && d);
    assert.equal(errorOf(bad).code, "TIMESTAMP_OUT_OF_BOUNDS");
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a", "c", "d"]);
    assert.deepEqual(
      [a, c, d].map((it) => resultOf(it).offset),
      [0, 1, 2],
    );
    assert.deepEqual(marks(cluster).slice(4), ["1/1/0", "1/1/1"]);
  });

  it("stay as they are, for a batch that may have been written, until that is known; only then the epoch rises", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0 });
    const topic = cluster.addTopic("t", 2);
    let losses = 0;
    cluster.agent.script = (request, _call, nth) => {
      const only = request.batches[0]?.partition;
      if (nth === 1)
        return { batchError: fault("INTERNAL", "internal"), apply: false, until: late };
      if (only === 1 && losses++ < 3) return { apply: true, reject: lost };
      return only === 0 && nth < 4 ? { until: late } : {};
    };
    const late = new Promise<void>((done) => clock.schedule(50, done));
    const bad = watch(producer.send({ topic: "t", partition: 0, value: "bad" }));
    await settle();
    const behind = watch(producer.send({ topic: "t", partition: 0, value: "behind" }));
    await settle();
    const unsure = watch(producer.send({ topic: "t", partition: 1, value: "unsure" }));
    await clock.run(5_000);
    assert.equal(errorOf(bad).code, "INTERNAL");
    assert.equal(resultOf(behind).offset, 0);
    assert.equal(resultOf(unsure).offset, 0);
    assert.deepEqual(cluster.log.values(topic.id, 1), ["unsure"]);
    assert.deepEqual(new Set(marks(cluster, 1)), new Set(["1/0/0"]));
    assert.equal(marks(cluster, 0).at(-1), "1/1/0");
  });

  it("that an agent has forgotten begin anew under another id, and no record is lost", async () => {
    const { cluster, clock, producer } = setUp();
    const topic = cluster.addTopic("t");
    watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(10);
    cluster.log.forgetProducers();
    const later = watch(producer.send({ topic: "t", value: "b" }));
    await clock.run(500);
    assert.equal(resultOf(later).offset, 1);
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a", "b"]);
    assert.deepEqual(marks(cluster), ["1/0/0", "1/0/1", "2/0/0"]);
  });

  it("that somebody else's epoch replaced begin anew under another id", async () => {
    const { cluster, clock, producer } = setUp();
    const topic = cluster.addTopic("t");
    cluster.agent.script = (_request, _call, nth) =>
      nth === 1 ? { reject: fault("PRODUCER_FENCED", "fenced") } : {};
    const send = watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(500);
    assert.equal(resultOf(send).offset, 0);
    assert.deepEqual(marks(cluster), ["1/0/0", "2/0/0"]);
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a"]);
  });

  it("whose next epoch was given out but not heard of are left for another id", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0 });
    const topic = cluster.addTopic("t");
    cluster.agent.script = (_request, _call, nth) =>
      nth === 1 ? { batchError: fault("INTERNAL", "internal"), apply: false, until: late } : {};
    const late = new Promise<void>((done) => clock.schedule(10, done));
    let inits = 0;
    cluster.agent.onInit = () => {
      // The second question is answered, but its answer is lost.
      if (++inits === 2) {
        cluster.log.init(1, 0);
        throw lost;
      }
    };
    watch(producer.send({ topic: "t", value: "bad" }));
    await settle();
    const behind = watch(producer.send({ topic: "t", value: "b" }));
    await clock.run(2_000);
    assert.equal(resultOf(behind).offset, 0);
    assert.equal(marks(cluster).at(-1), "2/0/0");
    assert.deepEqual(cluster.log.values(topic.id, 0), ["b"]);
  });
});

describe("a batch that was written, and whose answer was lost", () => {
  it("is not sent as another because of one gap that an agent tells", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0 });
    const topic = cluster.addTopic("t");
    watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(10);
    const gap = fault("SEQUENCE_GAP", "unavailable", { retriable: true });
    const answers = [
      { apply: true, reject: lost },
      { apply: false, batchError: gap },
      { apply: false, batchError: fault("UNKNOWN_PRODUCER") },
    ];
    cluster.agent.script = (_request, _call, nth) => answers[nth - 2] ?? {};
    const send = watch(producer.send({ topic: "t", value: "b" }));
    await clock.run(5_000);
    assert.equal(errorOf(send).outcome, "unknown", "it may be there, and it is");
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a", "b"]);
    await clock.until(producer.close());
  });

  it("is counted anew, with what follows it, where two gaps with nothing before it say that it is not there", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0, inFlight: 2 });
    const topic = cluster.addTopic("t");
    watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(10);
    // Both are lost on their way, and the agent has forgotten what was before them.
    cluster.agent.script = (_request, _call, nth) =>
      nth === 2 || nth === 3 ? { apply: false, reject: lost } : {};
    const state = cluster.log.partition(topic.id, 0).producers.get(1);
    assert.ok(state);
    state.next = 0;
    state.last = [];
    const sends = ["b", "c"].map((value) => watch(producer.send({ topic: "t", value })));
    await clock.run(5_000);
    assert.deepEqual(
      sends.map((it) => resultOf(it).offset),
      [1, 2],
    );
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a", "b", "c"]);
    await clock.until(producer.close());
  });
});

describe("a topic that is made anew while records are sent", () => {
  it("gets them from its beginning, with fresh sequences", async () => {
    const { cluster, clock, producer } = setUp();
    const old = cluster.addTopic("t");
    watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(10);
    const anew = cluster.addTopic("t");
    cluster.agent.script = (request) =>
      request.batches.some((it) => it.topicId === old.id)
        ? { reject: fault("TOPIC_NOT_FOUND", "invalid", { field: "batches[0].topic" }) }
        : {};
    const sends = ["b", "c"].map((value) => watch(producer.send({ topic: "t", value })));
    await clock.run(200);
    assert.deepEqual(
      sends.map((it) => resultOf(it).offset),
      [0, 1],
    );
    assert.deepEqual(cluster.log.values(anew.id, 0), ["b", "c"]);
    assert.deepEqual(marks(cluster), ["1/0/0", "1/0/1", "1/0/0"]);
  });

  it("and has fewer partitions: records for those that are gone fail with a clear error", async () => {
    const { cluster, clock, producer } = setUp();
    const old = cluster.addTopic("t", 2);
    watch(producer.send({ topic: "t", partition: 1, value: "a" }));
    await clock.run(10);
    cluster.addTopic("t", 1);
    cluster.agent.script = (request) =>
      request.batches.some((it) => it.topicId === old.id)
        ? { reject: fault("TOPIC_NOT_FOUND", "invalid") }
        : {};
    const gone = watch(producer.send({ topic: "t", partition: 1, value: "b" }));
    await clock.run(200);
    assert.equal(errorOf(gone).code, "PARTITION_OUT_OF_RANGE");
    assert.match(errorOf(gone).message, /partition 1 of topic t is gone/);
  });

  it("or only deleted: records fail with TOPIC_NOT_FOUND, each once", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("t");
    watch(producer.send({ topic: "t", value: "a" }));
    await clock.run(10);
    cluster.topics.delete("t");
    cluster.agent.script = () => ({ reject: fault("TOPIC_NOT_FOUND", "invalid") });
    const sends = ["b", "c"].map((value) => watch(producer.send({ topic: "t", value })));
    await clock.run(200);
    for (const it of sends) {
      assert.deepEqual([errorOf(it).code, errorOf(it).outcome], ["TOPIC_NOT_FOUND", "none"]);
    }
    assert.equal(producer.pending, 0);
  });
});
