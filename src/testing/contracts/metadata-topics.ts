/** Topics: part of the metadata store's contract. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { limits } from "../../core/limits.ts";
import {
  code,
  flushOf,
  fresh,
  heldTopic,
  type MetadataSubject,
  partitionsOf,
} from "./metadata-subject.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function topicContract(subject: () => MetadataSubject): void {
  describe("topics", () => {
    it("are what they were made as, each under an id of its own", async () => {
      const { metadata } = subject();
      const name = fresh("topic");
      const topic = await metadata.createTopic({ name, partitions: 3, retentionMs: 5_000_000_000 });
      assert.match(topic.id, UUID);
      assert.equal(topic.name, name);
      assert.equal(topic.retentionMs, 5_000_000_000);
      assert.ok(topic.createdAtMs > 1_600_000_000_000);
      const listed = await metadata.listTopics();
      assert.deepEqual(
        listed.find((it) => it.name === name),
        topic,
      );
      assert.deepEqual(
        await metadata.partitionBounds(partitionsOf(topic)),
        partitionsOf(topic).map((it) => ({ ...it, nextOffset: 0, logStartOffset: 0 })),
      );
    });

    it("are refused twice, with bad names, and with impossible numbers", async () => {
      const { metadata } = subject();
      const name = fresh("topic");
      const good = { name, partitions: 1, retentionMs: 0 };
      await metadata.createTopic(good);
      await assert.rejects(metadata.createTopic(good), code("TOPIC_EXISTS"));
      for (const bad of ["", ".", "..", "a b", "a/b", "a".repeat(250)]) {
        await assert.rejects(
          metadata.createTopic({ ...good, name: bad }),
          code("INVALID_TOPIC_NAME"),
        );
      }
      const other = fresh("topic");
      for (const partitions of [0, -1, 1.5, Number.NaN, limits.partitionsPerTopicMax + 1]) {
        const spec = { ...good, name: other, partitions };
        await assert.rejects(metadata.createTopic(spec), code("INVALID_ARGUMENT"));
      }
      for (const retentionMs of [-1, 0.5, Number.NaN, 2 ** 60]) {
        const spec = { ...good, name: other, retentionMs };
        await assert.rejects(metadata.createTopic(spec), code("INVALID_ARGUMENT"));
      }
      assert.equal(
        (await metadata.listTopics()).some((it) => it.name === other),
        false,
      );
    });

    it("grow, change their retention, and never shrink", async () => {
      const { metadata } = subject();
      const name = fresh("topic");
      const topic = await metadata.createTopic({ name, partitions: 2, retentionMs: 0 });
      const grown = await metadata.alterTopic(name, { partitions: 4 });
      assert.deepEqual(grown, { ...topic, partitions: 4 });
      assert.equal((await metadata.partitionBounds(partitionsOf(grown))).length, 4);
      const kept = await metadata.alterTopic(name, { retentionMs: 7 });
      assert.deepEqual(kept, { ...grown, retentionMs: 7 });
      await assert.rejects(metadata.alterTopic(name, { partitions: 3 }), code("INVALID_ARGUMENT"));
      await assert.rejects(
        metadata.alterTopic(name, { retentionMs: -1 }),
        code("INVALID_ARGUMENT"),
      );
      await assert.rejects(metadata.alterTopic(fresh("none"), {}), code("TOPIC_NOT_FOUND"));
      const listed = await metadata.listTopics();
      assert.deepEqual(
        listed.find((it) => it.name === name),
        kept,
      );
    });

    it("take everything of theirs along, and come back as other topics", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata, 2);
      const group = fresh("group");
      const offset = { topicId: topic.id, partition: 0, offset: 0, metadata: "" };
      await metadata.commitOffsets(group, { memberId: "", memberEpoch: 0 }, [offset]);
      assert.deepEqual(await metadata.deleteTopic(topic.name), topic);
      await assert.rejects(metadata.deleteTopic(topic.name), code("TOPIC_NOT_FOUND"));
      assert.deepEqual(await metadata.partitionBounds(partitionsOf(topic)), []);
      assert.deepEqual(await metadata.fetchOffsets(group), []);
      assert.deepEqual((await metadata.lagSnapshot(group)).rows, []);
      const leases = await metadata.listLeases();
      assert.equal(
        leases.some((it) => it.topicId === topic.id),
        false,
      );
      assert.deepEqual(await metadata.acquireLeases(runId, partitionsOf(topic)), []);

      const again = await metadata.createTopic({ name: topic.name, partitions: 1, retentionMs: 0 });
      assert.notEqual(again.id, topic.id);
      const late = await metadata.commitFlush(
        flushOf(runId, 1, [{ topicId: topic.id, baseOffset: 0 }]),
      );
      assert.deepEqual(late, {
        status: "refused",
        partitions: [{ topicId: topic.id, partition: 0, reason: "deleted" }],
      });
      assert.equal((await metadata.partitionBounds(partitionsOf(again)))[0]?.nextOffset, 0);
    });

    it("have log starts that only rise, and never beyond the next offset", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata);
      const at = { topicId: topic.id, partition: 0 };
      await metadata.commitFlush(flushOf(runId, 1, [{ ...at, baseOffset: 0, recordCount: 10 }]));
      const logStart = async () => (await metadata.partitionBounds([at]))[0]?.logStartOffset;
      await metadata.advanceLogStart([{ ...at, logStartOffset: 4 }]);
      assert.equal(await logStart(), 4);
      await metadata.advanceLogStart([{ ...at, logStartOffset: 3 }]);
      assert.equal(await logStart(), 4);
      await metadata.advanceLogStart([{ ...at, logStartOffset: 99 }]);
      assert.equal(await logStart(), 10);
      await metadata.advanceLogStart([{ ...at, partition: 7, logStartOffset: 1 }]);
    });
  });
}
