import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeBatch, plainRecord } from "../../../src/format/batch-decoder.ts";
import { readBatchHeader } from "../../../src/format/batch-header.ts";
import { settle } from "../../../src/testing/manual-clock.ts";
import { fault } from "./fake-agents.ts";
import { errorOf, resultOf, setUp, watch } from "./setup.ts";

describe("send()", () => {
  it("answers topic, partition, offset and the record's timestamp", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("orders", 4);
    const first = watch(producer.send({ topic: "orders", partition: 2, value: "a", timestamp: 5 }));
    const sentAt = clock.now();
    const second = watch(producer.send({ topic: "orders", partition: 2, value: "b" }));
    await clock.run(10);
    assert.deepEqual(resultOf(first), { topic: "orders", partition: 2, offset: 0, timestamp: 5 });
    assert.deepEqual(resultOf(second), {
      topic: "orders",
      partition: 2,
      offset: 1,
      timestamp: sentAt,
    });
  });

  it("answers no offset unless acks are durable", async () => {
    for (const acks of ["buffered", "none"] as const) {
      const { cluster, clock, producer } = setUp({ acks });
      cluster.addTopic("t");
      const send = watch(producer.send({ topic: "t", value: "a", timestamp: 1 }));
      await clock.run(10);
      assert.deepEqual(resultOf(send), { topic: "t", partition: 0, timestamp: 1 });
      const [batch] = cluster.agent.requests[0]?.batches ?? [];
      assert.ok(batch);
      assert.equal(readBatchHeader(batch.records).producerId, -1);
      assert.equal(cluster.log.inits.length, 0);
    }
  });

  it("gathers records for lingerMs and sends them in one batch", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 20 });
    cluster.addTopic("t");
    for (let i = 0; i < 3; i++) {
      watch(producer.send({ topic: "t", value: `${i}` }));
      await clock.run(5);
    }
    assert.equal(cluster.agent.requests.length, 0);
    await clock.run(5);
    assert.equal(cluster.agent.requests.length, 1);
    assert.equal(producer.pending, 0);
  });

  it("with lingerMs 0 sends records of one go together, at once", async () => {
    const { cluster, producer } = setUp({ lingerMs: 0 });
    const topic = cluster.addTopic("t");
    const sends = ["a", "b"].map((value) => watch(producer.send({ topic: "t", value })));
    await settle();
    assert.equal(sends.map(resultOf).length, 2);
    assert.equal(cluster.agent.requests.length, 1);
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a", "b"]);
  });

  it("sends a full batch without lingering", async () => {
    const { cluster, producer } = setUp({ lingerMs: 10_000, batchBytes: 200 });
    cluster.addTopic("t");
    const sends = Array.from({ length: 5 }, () =>
      watch(producer.send({ topic: "t", value: "x".repeat(50) })),
    );
    await settle();
    assert.equal(cluster.agent.requests.length, 2);
    assert.deepEqual(
      sends.map((it) => it.ending !== undefined),
      [true, true, true, true, false],
    );
  });

  it("puts batches of several partitions into one request", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("t", 3);
    for (let partition = 0; partition < 3; partition++) {
      watch(producer.send({ topic: "t", partition, value: "x" }));
    }
    await clock.run(10);
    assert.equal(cluster.agent.requests.length, 1);
    const batches = cluster.agent.requests[0]?.batches ?? [];
    assert.deepEqual(batches.map((it) => it.partition).sort(), [0, 1, 2]);
  });

  it("keeps a request within the size limit and at one batch for each partition", async () => {
    const { cluster, clock, producer } = setUp({ bufferBytes: 2 ** 26 });
    cluster.addTopic("t", 12);
    for (let i = 0; i < 24; i++) {
      watch(producer.send({ topic: "t", partition: i % 12, value: "x".repeat(1_000_000) }));
    }
    await clock.run(100);
    assert.equal(producer.pending, 0);
    for (const { batches } of cluster.agent.requests) {
      const bytes = batches.reduce((sum, it) => sum + it.records.length, 0);
      assert.ok(bytes <= 8_388_608, `${bytes} bytes`);
      assert.equal(new Set(batches.map((it) => it.partition)).size, batches.length);
    }
  });

  it("puts the same key on the same partition, and explicit partitions where they say", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("t", 8);
    const sends = [
      producer.send({ topic: "t", key: "user-1", value: "a" }),
      producer.send({ topic: "t", key: new TextEncoder().encode("user-1"), value: "b" }),
      producer.send({ topic: "t", key: "user-1", partition: 6, value: "c" }),
    ].map(watch);
    await clock.run(10);
    const [a, b, c] = sends.map((it) => resultOf(it).partition);
    assert.equal(a, b);
    assert.equal(c, 6);
  });

  it("keeps records without a key on one partition until its batch is sent, then takes the next", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("t", 3);
    const partitions: number[] = [];
    for (let round = 0; round < 4; round++) {
      const sends = Array.from({ length: 5 }, () =>
        watch(producer.send({ topic: "t", value: "x" })),
      );
      await clock.run(10);
      const seen = new Set(sends.map((it) => resultOf(it).partition));
      assert.equal(seen.size, 1);
      partitions.push(...seen);
    }
    assert.equal(new Set(partitions.slice(0, 3)).size, 3);
    assert.equal(partitions[3], partitions[0]);
  });

  it("asks a partitioner of one's own, and does what the default does when it answers undefined", async () => {
    const { cluster, clock, producer } = setUp({
      partitioner: (topic, record) =>
        record.key === "last" ? topic.partitions - 1 : record.key === "bad" ? 99 : undefined,
    });
    cluster.addTopic("t", 5);
    const last = watch(producer.send({ topic: "t", key: "last", value: "a" }));
    const bad = watch(producer.send({ topic: "t", key: "bad", value: "b" }));
    const other = watch(producer.send({ topic: "t", key: "user-1", value: "c" }));
    await clock.run(10);
    assert.equal(resultOf(last).partition, 4);
    assert.equal(errorOf(bad).code, "PARTITION_OUT_OF_RANGE");
    assert.ok(resultOf(other).partition < 5);
  });

  it("compresses batches as asked, and keeps their order", async () => {
    for (const compression of ["gzip", "zstd"] as const) {
      const { cluster, clock, producer } = setUp({ compression, batchBytes: 2_000 });
      cluster.addTopic("t");
      const bodies: Uint8Array[] = [];
      cluster.agent.script = (request) => {
        for (const batch of request.batches) bodies.push(batch.records);
        return { batchError: fault("INTERNAL", "internal"), apply: false };
      };
      const sends = Array.from({ length: 40 }, (_, i) =>
        producer.send({ topic: "t", value: `${i}:${"x".repeat(90)}` }),
      );
      // Compression works in real time: the delivery deadline must not pass on the clock meanwhile.
      await clock.until(Promise.allSettled(sends), 1_000);
      const headers = bodies.map((it) => readBatchHeader(it));
      assert.ok(headers.length >= 2 && headers.every((it) => it.compression === compression));
      const decoded = await Promise.all(bodies.map((it) => decodeBatch(it, plainRecord)));
      const values = decoded.flat().map((it) => new TextDecoder().decode(it.value ?? undefined));
      assert.deepEqual(
        values.map((it) => Number(it.split(":")[0])),
        Array.from({ length: 40 }, (_, i) => i),
      );
    }
  });
});

describe("send() of something that cannot be sent", () => {
  it("says that a topic does not exist, and finds it when it does", async () => {
    const { cluster, clock, producer } = setUp();
    const lost = watch(producer.send({ topic: "nope", value: "a" }));
    await clock.run(10);
    assert.equal(errorOf(lost).code, "TOPIC_NOT_FOUND");
    assert.equal(producer.pending, 0);
    cluster.addTopic("nope");
    const found = watch(producer.send({ topic: "nope", value: "a" }));
    await clock.run(10);
    assert.equal(resultOf(found).offset, 0);
  });

  it("refuses a bad topic name without asking anybody", async () => {
    const { cluster, producer } = setUp();
    const bad = watch(producer.send({ topic: "a b", value: "a" }));
    const none = watch(producer.send({ value: "a" } as never));
    await settle();
    assert.equal(errorOf(bad).code, "INVALID_TOPIC_NAME");
    assert.equal(errorOf(none).code, "INVALID_ARGUMENT");
    assert.equal(cluster.lookups, 0);
  });

  it("refuses a record over the limit and one of a wrong type, and sends the others", async () => {
    const { cluster, clock, producer } = setUp();
    const topic = cluster.addTopic("t");
    const large = watch(producer.send({ topic: "t", value: new Uint8Array(1_048_577) }));
    const wrong = watch(producer.send({ topic: "t", value: { a: 1 } as never }));
    const timestamp = watch(producer.send({ topic: "t", value: "x", timestamp: -1 }));
    const fine = watch(producer.send({ topic: "t", value: "x" }));
    await clock.run(10);
    assert.equal(errorOf(large).code, "RECORD_TOO_LARGE");
    assert.equal(errorOf(wrong).code, "INVALID_ARGUMENT");
    assert.equal(errorOf(timestamp).code, "INVALID_ARGUMENT");
    assert.equal(resultOf(fine).offset, 0);
    assert.deepEqual(cluster.log.values(topic.id, 0), ["x"]);
    assert.equal(producer.pending, 0);
  });

  it("looks a topic up once more before it says that a partition does not exist", async () => {
    const { cluster, clock, producer } = setUp();
    const topic = cluster.addTopic("t", 2);
    watch(producer.send({ topic: "t", partition: 1, value: "a" }));
    await clock.run(10);
    cluster.topics.set("t", { ...topic, partitions: 3 });
    const grown = watch(producer.send({ topic: "t", partition: 2, value: "b" }));
    const beyond = watch(producer.send({ topic: "t", partition: 3, value: "c" }));
    const negative = watch(producer.send({ topic: "t", partition: -1, value: "d" }));
    await clock.run(10);
    assert.equal(resultOf(grown).partition, 2);
    assert.equal(errorOf(beyond).code, "PARTITION_OUT_OF_RANGE");
    assert.equal(errorOf(negative).code, "PARTITION_OUT_OF_RANGE");
  });
});

describe("a topic that grows", () => {
  it("is looked up again every five minutes, and its new partitions are used", async () => {
    const { cluster, clock, producer } = setUp();
    const topic = cluster.addTopic("t", 1);
    watch(producer.send({ topic: "t", key: "a", value: "x" }));
    await clock.run(10);
    cluster.topics.set("t", { ...topic, partitions: 50 });
    watch(producer.send({ topic: "t", key: "a", value: "x" }));
    await clock.run(300_000);
    watch(producer.send({ topic: "t", key: "a", value: "x" }));
    await clock.run(10);
    const keys = ["a", "b", "c", "d", "e"];
    const sends = keys.map((key) => watch(producer.send({ topic: "t", key, value: "x" })));
    await clock.run(10);
    assert.ok(new Set(sends.map((it) => resultOf(it).partition)).size > 1);
    assert.equal(cluster.lookups, 2);
  });
});

describe("an abort signal", () => {
  it("takes a record back that is still waiting here: it is never sent", async () => {
    const { cluster, clock, producer } = setUp();
    const topic = cluster.addTopic("t");
    const abort = new AbortController();
    const sends = [
      watch(producer.send({ topic: "t", value: "a" })),
      watch(producer.send({ topic: "t", value: "b" }, { signal: abort.signal })),
      watch(producer.send({ topic: "t", value: "c" })),
    ];
    await settle();
    abort.abort(new Error("no longer wanted"));
    await clock.run(10);
    const [a, b, c] = sends;
    assert.ok(a && b && c);
    const error = errorOf(b);
    assert.deepEqual([error.code, error.outcome], ["ABORTED", "none"]);
    assert.deepEqual([resultOf(a).offset, resultOf(c).offset], [0, 1]);
    assert.deepEqual(cluster.log.values(topic.id, 0), ["a", "c"]);
    assert.equal(producer.pending, 0);
  });

  it("sends nothing at all when everything was taken back", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.addTopic("t");
    const abort = new AbortController();
    const send = watch(producer.send({ topic: "t", value: "b" }, { signal: abort.signal }));
    await settle();
    abort.abort();
    await clock.run(10);
    assert.equal(errorOf(send).outcome, "none");
    assert.equal(cluster.agent.requests.length, 0);
    const next = watch(producer.send({ topic: "t", value: "c" }));
    await clock.run(10);
    assert.equal(resultOf(next).offset, 0);
  });

  it("after the record left: the outcome is unknown, and nothing is reported twice", async () => {
    const { cluster, clock, producer } = setUp();
    const topic = cluster.addTopic("t");
    const answer = Promise.withResolvers<void>();
    cluster.agent.script = () => ({ until: answer.promise });
    const abort = new AbortController();
    const send = watch(producer.send({ topic: "t", value: "b" }, { signal: abort.signal }));
    await clock.run(10);
    abort.abort();
    await settle();
    assert.deepEqual([errorOf(send).code, errorOf(send).outcome], ["ABORTED", "unknown"]);
    answer.resolve();
    await settle();
    assert.equal(errorOf(send).code, "ABORTED");
    assert.deepEqual(cluster.log.values(topic.id, 0), ["b"]);
    assert.equal(producer.pending, 0);
  });

  it("that has aborted already: the record is not taken", async () => {
    const { producer } = setUp();
    const send = watch(producer.send({ topic: "t", value: "b" }, { signal: AbortSignal.abort() }));
    await settle();
    assert.deepEqual([errorOf(send).code, errorOf(send).outcome], ["ABORTED", "none"]);
    assert.equal(producer.pending, 0);
  });

  it("ends the wait of a record in line", async () => {
    const { cluster, clock, producer } = setUp();
    cluster.onTopic = () => new Promise(() => {});
    const abort = new AbortController();
    const send = watch(producer.send({ topic: "t", value: "b" }, { signal: abort.signal }));
    await settle();
    abort.abort();
    await settle();
    assert.equal(errorOf(send).outcome, "none");
    assert.equal(producer.pending, 0);
    await producer.close({ timeoutMs: 0 });
    assert.equal(clock.pending, 0);
  });
});
