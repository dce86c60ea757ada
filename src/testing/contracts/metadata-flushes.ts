/** The log's index: part of the metadata store's contract. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CommittedFlush, MetadataStore } from "../../metadata/metadata-store.ts";
import {
  code,
  dropAll,
  flushOf,
  fresh,
  heldTopic,
  type MetadataSubject,
  partitionsOf,
  startRun,
} from "./metadata-subject.ts";

async function flushesOf(metadata: MetadataStore, runId: string): Promise<CommittedFlush[]> {
  const found: CommittedFlush[] = [];
  let after = 0;
  for (;;) {
    const page = await metadata.listFlushes(after, 3);
    for (const flush of page) {
      assert.ok(flush.flushId > after, "in commit order");
      after = flush.flushId;
    }
    found.push(...page.filter((it) => it.runId === runId));
    if (page.length < 3) return found;
  }
}

export function flushContract(subject: () => MetadataSubject): void {
  describe("flushes", () => {
    it("move the next offsets and are read back as they were committed", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata, 3);
      const topicId = topic.id;
      const flush = flushOf(runId, 7, [
        { topicId, partition: 0, baseOffset: 0, recordCount: 3 },
        { topicId, partition: 2, baseOffset: 0, recordCount: 5 },
      ]);
      assert.deepEqual(await metadata.commitFlush(flush), { status: "committed" });
      const bounds = await metadata.partitionBounds(partitionsOf(topic));
      assert.deepEqual(
        bounds.map((it) => it.nextOffset),
        [3, 0, 5],
      );
      const [stored, ...rest] = await flushesOf(metadata, runId);
      assert.deepEqual(rest, []);
      const { producerStates: _, ...expected } = flush;
      assert.deepEqual(stored, { flushId: stored?.flushId, ...expected });
    });

    it("are listed in commit order, a page at a time", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata);
      for (let i = 0; i < 10; i++) {
        await metadata.commitFlush(flushOf(runId, i + 1, [{ topicId: topic.id, baseOffset: i }]));
      }
      const sequences = (await flushesOf(metadata, runId)).map((it) => it.flushSequence);
      assert.deepEqual(sequences, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    });

    it("are all or nothing: one lost partition refuses the whole flush", async () => {
      const { metadata, advance } = subject();
      const { topic, runId } = await heldTopic(metadata, 3, 1_000_000);
      const topicId = topic.id;
      await metadata.releaseLeases(runId, [{ topicId, partition: 1 }]);
      const other = fresh("run");
      await startRun(metadata, other);
      await metadata.acquireLeases(other, [{ topicId, partition: 1 }]);
      const state = Uint8Array.of(1);
      const flush = flushOf(
        runId,
        1,
        [0, 1, 2, 9].map((partition) => ({ topicId, partition, baseOffset: 0 })),
        [{ topicId, partition: 0, state }],
      );
      assert.deepEqual(await metadata.commitFlush(flush), {
        status: "refused",
        partitions: [
          { topicId, partition: 1, reason: "fenced" },
          { topicId, partition: 9, reason: "deleted" },
        ],
      });
      assert.deepEqual(await flushesOf(metadata, runId), []);
      const bounds = await metadata.partitionBounds(partitionsOf(topic));
      assert.ok(bounds.every((it) => it.nextOffset === 0));
      assert.equal(await metadata.resolveFlush(flush), "absent");
      await advance(0);
      const [grant] = await metadata.acquireLeases(runId, [{ topicId, partition: 0 }]);
      assert.equal(grant?.producerState, null);
    });

    it("never leave a hole or write an offset twice", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata, 2);
      const topicId = topic.id;
      await metadata.commitFlush(flushOf(runId, 1, [{ topicId, baseOffset: 0, recordCount: 5 }]));
      for (const baseOffset of [0, 4, 6]) {
        const flush = flushOf(runId, 2, [
          { topicId, baseOffset },
          { topicId, partition: 1, baseOffset: 0 },
        ]);
        await assert.rejects(metadata.commitFlush(flush), code("INTERNAL"));
      }
      const twice = flushOf(runId, 2, [
        { topicId, baseOffset: 5 },
        { topicId, baseOffset: 5 },
      ]);
      await assert.rejects(metadata.commitFlush(twice), code("INTERNAL"));
      const backwards = flushOf(runId, 2, [
        { topicId, partition: 1, baseOffset: 0 },
        { topicId, partition: 0, baseOffset: 5 },
      ]);
      await assert.rejects(metadata.commitFlush(backwards), code("INTERNAL"));
      await assert.rejects(metadata.commitFlush(flushOf(runId, 2, [])), code("INTERNAL"));
      const bounds = await metadata.partitionBounds(partitionsOf(topic));
      assert.deepEqual(
        bounds.map((it) => it.nextOffset),
        [5, 0],
      );
    });

    it("are applied once, however often they are committed and resolved", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata);
      const flush = flushOf(runId, 1, [{ topicId: topic.id, baseOffset: 0, recordCount: 2 }]);
      assert.equal(await metadata.resolveFlush(flush), "absent");
      assert.deepEqual(await metadata.commitFlush(flush), { status: "committed" });
      assert.equal(await metadata.resolveFlush(flush), "committed");
      assert.deepEqual(await metadata.commitFlush(flush), { status: "committed" });
      assert.equal((await flushesOf(metadata, runId)).length, 1);
      const [bounds] = await metadata.partitionBounds(partitionsOf(topic));
      assert.equal(bounds?.nextOffset, 2);
    });

    it("carry producer state, the last one winning", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata);
      const at = { topicId: topic.id, partition: 0 };
      for (const [i, state] of [Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(3)].entries()) {
        const flush = flushOf(runId, i + 1, [{ ...at, baseOffset: i }], [{ ...at, state }]);
        await metadata.commitFlush(flush);
        const [grant] = await metadata.acquireLeases(runId, [at]);
        assert.deepEqual(grant?.producerState, state);
      }
    });

    it("are forgotten when nobody can read any of their partitions, not before", async () => {
      const { metadata } = subject();
      await dropAll(metadata);
      const { topic, runId } = await heldTopic(metadata, 2);
      const topicId = topic.id;
      for (let i = 0; i < 4; i++) {
        const entries = [0, 1].map((partition) => ({
          topicId,
          partition,
          baseOffset: i * 10,
          recordCount: 10,
        }));
        await metadata.commitFlush(flushOf(runId, i + 1, entries));
      }
      const raise = (partition: number, logStartOffset: number) =>
        metadata.advanceLogStart([{ topicId, partition, logStartOffset }]);
      const dropped = async () => (await dropAll(metadata, 1)).map((it) => it.flushSequence);
      await raise(0, 25);
      assert.deepEqual(await dropped(), []);
      await raise(1, 9);
      assert.deepEqual(await dropped(), []);
      await raise(1, 10);
      assert.deepEqual(await dropped(), [1]);
      await raise(1, 40);
      assert.deepEqual(await dropped(), [2]);
      await raise(0, 40);
      assert.deepEqual(await dropped(), [3, 4]);
      assert.deepEqual(await flushesOf(metadata, runId), []);
      assert.deepEqual(await dropped(), []);
    });

    it("are forgotten with their topic, if no other topic shares them", async () => {
      const { metadata } = subject();
      await dropAll(metadata);
      const mine = await heldTopic(metadata);
      const name = fresh("topic");
      const shared = await metadata.createTopic({ name, partitions: 1, retentionMs: 0 });
      await metadata.acquireLeases(mine.runId, partitionsOf(shared));
      const ids = [mine.topic.id, shared.id].sort();
      const both = ids.map((topicId) => ({ topicId, baseOffset: 0 }));
      const alone = [{ topicId: mine.topic.id, baseOffset: 1 }];
      const outcomes = [
        await metadata.commitFlush(flushOf(mine.runId, 1, both)),
        await metadata.commitFlush(flushOf(mine.runId, 2, alone)),
      ];
      assert.deepEqual(outcomes, [{ status: "committed" }, { status: "committed" }]);
      await metadata.deleteTopic(mine.topic.name);
      assert.deepEqual(
        (await dropAll(metadata)).map((it) => it.flushSequence),
        [2],
      );
      await metadata.deleteTopic(name);
      assert.deepEqual(
        (await dropAll(metadata)).map((it) => it.flushSequence),
        [1],
      );
    });
  });
}
