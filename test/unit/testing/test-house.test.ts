import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createTestHouse } from "../../../src/testing/test-house.ts";

describe("test house", () => {
  it("is a whole house in memory: topics, producer, consumer, lag", async () => {
    const house = await createTestHouse({ topics: { orders: 2, audit: 1 } });
    const topics = await house.admin.listTopics();
    assert.deepEqual(
      topics.map((topic) => [topic.name, topic.partitions]),
      [
        ["audit", 1],
        ["orders", 2],
      ],
    );
    assert.equal(house.agent.leaseManager.activeLeaseCount(), 3);
    const producer = house.producer({ lingerMs: 0 });
    await producer.send({ topic: "orders", partition: 1, value: "x" });
    const consumer = house.consumer({ group: "g", topics: ["orders"] });
    assert.deepEqual(
      (await consumer.poll(1_000)).map((record) => record.text()),
      ["x"],
    );
    await consumer.commit();
    assert.deepEqual(await consumer.lag("orders", 1), { records: 0, seconds: 0 });
    await house.close();
    assert.equal(house.agent.status().phase, "stopped");
  });

  it("takes a list of topics, each with one partition", async () => {
    const house = await createTestHouse({ topics: ["a", "b"] });
    assert.deepEqual(
      (await house.admin.listTopics()).map((topic) => topic.partitions),
      [1, 1],
    );
    await house.close();
  });

  it("leaves nothing open when a topic's name is bad", async () => {
    await assert.rejects(createTestHouse({ topics: ["bad name"] }), { code: "INVALID_TOPIC_NAME" });
  });

  it("shares nothing with another house", async () => {
    const [one, two] = await Promise.all([createTestHouse(), createTestHouse()]);
    await one.admin.createTopic("mine");
    assert.deepEqual(await two.admin.listTopics(), []);
    await Promise.all([one.close(), two.close()]);
  });
});
