import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { BatchSendError } from "../../../src/producer/send-result.ts";
import { fault } from "./fake-agents.ts";
import { errorOf, resultOf, setUp, watch } from "./setup.ts";

describe("sendBatch()", () => {
  it("answers where the records went, joined where they lie one behind the other", async () => {
    const { cluster, clock, producer } = setUp({ batchBytes: 90 });
    const topic = cluster.addTopic("t", 2);
    const records = Array.from({ length: 20 }, (_, i) => ({ partition: i % 2, value: `${i}` }));
    const batch = watch(producer.sendBatch({ topic: "t", records }));
    assert.equal(producer.pending, 20);
    await clock.run(100);
    assert.deepEqual(resultOf(batch), {
      topic: "t",
      count: 20,
      ranges: [
        { partition: 0, baseOffset: 0, count: 10 },
        { partition: 1, baseOffset: 0, count: 10 },
      ],
    });
    const values = cluster.log.values(topic.id, 1);
    assert.deepEqual(
      values,
      records.filter((it) => it.partition === 1).map((it) => it.value),
    );
    assert.ok(cluster.agent.requests.length > 2);
    assert.equal(producer.pending, 0);
  });

  it("tells ranges apart between which somebody else's records lie", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 50, batchBytes: 100 });
    cluster.addTopic("t");
    const [one, two] = [{ value: "1".repeat(30) }, { value: "2".repeat(30) }];
    const batch = watch(producer.sendBatch({ topic: "t", records: [one] }));
    await clock.run(1);
    watch(producer.send({ topic: "t", value: "between" }));
    const more = watch(producer.sendBatch({ topic: "t", records: [one, two] }));
    await clock.run(100);
    assert.deepEqual(resultOf(batch).ranges, [{ partition: 0, baseOffset: 0, count: 1 }]);
    assert.deepEqual(resultOf(more).ranges, [{ partition: 0, baseOffset: 2, count: 2 }]);
  });

  it("answers counts without offsets unless acks are durable", async () => {
    const { cluster, clock, producer } = setUp({ acks: "buffered", batchBytes: 100 });
    cluster.addTopic("t");
    const records = Array.from({ length: 10 }, () => ({ value: "0123456789" }));
    const batch = watch(producer.sendBatch({ topic: "t", records }));
    await clock.run(100);
    assert.deepEqual(resultOf(batch), {
      topic: "t",
      count: 10,
      ranges: [{ partition: 0, count: 10 }],
    });
  });

  it("of nothing is done at once", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("t");
    const batch = watch(producer.sendBatch({ topic: "t", records: [] }));
    await clock.run(10);
    assert.deepEqual(resultOf(batch), { topic: "t", count: 0, ranges: [] });
  });

  it("waits its turn when it is larger than the buffer, and keeps the order of what was sent after it", async () => {
    const { cluster, clock, producer } = setUp({ bufferBytes: 1_000, batchBytes: 400 });
    const topic = cluster.addTopic("t");
    const records = Array.from({ length: 200 }, (_, i) => ({ value: `${i}`.padStart(20, "0") }));
    const batch = watch(producer.sendBatch({ topic: "t", records }));
    const after = watch(producer.send({ topic: "t", value: "after" }));
    await clock.run(1_000);
    assert.equal(resultOf(batch).count, 200);
    assert.equal(resultOf(after).offset, 200);
    const expected = [...records.map((it) => it.value), "after"];
    assert.deepEqual(cluster.log.values(topic.id, 0), expected);
  });

  it("with records that cannot be sent: sends the others and says which failed, each once", async () => {
    const { cluster, clock, producer } = setUp();
    const topic = cluster.addTopic("t", 2);
    const records = [
      { partition: 0, value: "a" },
      { partition: 9, value: "b" },
      { partition: 1, value: 5 as never },
      { partition: 1, value: "c" },
    ];
    const batch = watch(producer.sendBatch({ topic: "t", records }));
    await clock.run(100);
    const error = errorOf(batch);
    assert.ok(error instanceof BatchSendError);
    assert.match(error.message, /2 of 4 records for topic t were not sent \(2 were\)/);
    assert.equal(error.outcome, "none");
    assert.equal(error.sent.count, 2);
    assert.deepEqual(
      error.failed.map((it) => [it.indexes, it.error.code]),
      [
        [[1], "PARTITION_OUT_OF_RANGE"],
        [[2], "INVALID_ARGUMENT"],
      ],
    );
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a"]);
    assert.deepEqual(cluster.log.values(topic.id, 1), ["c"]);
    assert.equal(producer.pending, 0);
  });

  it("for a topic that does not exist fails as a whole", async () => {
    const { clock, producer } = setUp();
    const records = [{ value: "a" }, { value: "b" }];
    const batch = watch(producer.sendBatch({ topic: "nope", records }));
    await clock.run(100);
    const error = errorOf(batch);
    assert.ok(error instanceof BatchSendError);
    assert.equal(error.code, "TOPIC_NOT_FOUND");
    assert.deepEqual(
      error.failed.map((it) => it.indexes),
      [[0, 1]],
    );
    assert.equal(error.sent.count, 0);
  });

  it("without records to send is refused", async () => {
    const { clock, producer } = setUp();
    const batch = watch(producer.sendBatch({ topic: "t" } as never));
    await clock.run(10);
    assert.equal(errorOf(batch).code, "INVALID_ARGUMENT");
    assert.match(errorOf(batch).message, /records is missing: give an array of records/);
  });

  it("accounts for every record exactly once, whatever fails", async () => {
    const shape = fc.record({
      partitions: fc.array(fc.nat(2), { minLength: 1, maxLength: 60 }),
      failing: fc.array(fc.boolean(), { maxLength: 30 }),
      batchBytes: fc.constantFrom(90, 150, 5_000),
      bufferBytes: fc.constantFrom(200, 100_000),
    });
    await fc.assert(
      fc.asyncProperty(shape, async ({ partitions, failing, batchBytes, bufferBytes }) => {
        const { cluster, clock, producer } = setUp({ batchBytes, bufferBytes });
        const topic = cluster.addTopic("t", 3);
        cluster.agent.script = (_request, _call, nth) =>
          failing[nth - 1] === true
            ? { batchError: fault("STORE_FULL", "invalid"), apply: false }
            : {};
        const records = partitions.map((partition, i) => ({ partition, value: `${i}` }));
        const batch = watch(producer.sendBatch({ topic: "t", records }));
        await clock.run(5_000);
        const { ending } = batch;
        assert.ok(ending);
        const failed = "error" in ending ? errorOf(batch) : undefined;
        const lost =
          failed instanceof BatchSendError ? failed.failed.flatMap((it) => it.indexes) : [];
        const sent = failed instanceof BatchSendError ? failed.sent : resultOf(batch);
        assert.equal(new Set(lost).size, lost.length);
        assert.equal(sent.count + lost.length, records.length);
        const there = [0, 1, 2].flatMap((it) => cluster.log.values(topic.id, it)).map(Number);
        assert.deepEqual(
          [...there, ...lost].sort((a, b) => a - b),
          records.map((_, i) => i),
        );
      }),
      { numRuns: 150 },
    );
  });
});
