/** Runs, leases and producer ids: part of the metadata store's contract. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MetadataStore } from "../../metadata/metadata-store.ts";
import {
  code,
  flushOf,
  fresh,
  heldTopic,
  type MetadataSubject,
  partitionsOf,
  startRun,
} from "./metadata-subject.ts";

async function holderOf(metadata: MetadataStore, topicId: string): Promise<string | undefined> {
  return (await metadata.listLeases()).find((it) => it.topicId === topicId)?.runId;
}

export function leaseContract(subject: () => MetadataSubject): void {
  describe("runs and leases", () => {
    it("are listed as they were started, until they end", async () => {
      const { metadata } = subject();
      const runId = fresh("run");
      const run = { runId, agentId: "a1", address: "10.0.0.1:7070" };
      const started = await metadata.startRun({ ...run, ttlMs: 5_000, predecessorsDead: false });
      assert.deepEqual(started, {
        ...run,
        startedAtMs: started.startedAtMs,
        expiresAtMs: started.startedAtMs + 5_000,
        isLive: true,
        isRetiring: false,
        load: undefined,
      });
      const listed = await metadata.listRuns();
      assert.deepEqual(
        listed.find((it) => it.runId === runId),
        started,
      );
      await metadata.endRun(runId);
      await metadata.endRun(runId);
      assert.equal(
        (await metadata.listRuns()).some((it) => it.runId === runId),
        false,
      );
      assert.equal(await metadata.renewRun(runId, 5_000), false);
    });

    it("are live until they expire by the store's clock, and tell their last load", async () => {
      const { metadata, advance } = subject();
      const runId = fresh("run");
      await startRun(metadata, runId, 1_000);
      const find = async () => (await metadata.listRuns()).find((it) => it.runId === runId);
      assert.deepEqual([(await find())?.isLive, (await find())?.load], [true, undefined]);
      const load = {
        recordsInPerSecond: 1_234.5,
        bytesInPerSecond: 100_000,
        bytesOutPerSecond: 0,
        flushesPerSecond: 4.75,
      };
      await advance(999);
      assert.equal(await metadata.renewRun(runId, 1_000, load), true);
      await advance(999);
      assert.deepEqual([(await find())?.isLive, (await find())?.load], [true, load]);
      // A renewal that says nothing leaves what was said.
      assert.equal(await metadata.renewRun(runId, 1_000), true);
      assert.deepEqual((await find())?.load, load);
      await advance(1_000);
      assert.deepEqual([(await find())?.isLive, (await find())?.load], [false, load]);
      assert.equal(await metadata.renewRun(runId, 1_000), true);
      assert.equal((await find())?.isLive, true);
      await metadata.endRun(runId);
    });

    it("go to one run; asking again renews without a new epoch", async () => {
      const { metadata } = subject();
      const { topic, runId, grants } = await heldTopic(metadata, 2);
      assert.deepEqual(
        grants.map((it) => it.epoch),
        [1, 1],
      );
      const again = await metadata.acquireLeases(runId, partitionsOf(topic));
      assert.deepEqual(again, grants);
      const rival = fresh("run");
      await startRun(metadata, rival);
      assert.deepEqual(await metadata.acquireLeases(rival, partitionsOf(topic)), []);
      assert.equal(await holderOf(metadata, topic.id), runId);
      // The rival's attempts did not fence the holder.
      const flush = flushOf(runId, 1, [{ topicId: topic.id, baseOffset: 0 }]);
      assert.deepEqual(await metadata.commitFlush(flush), { status: "committed" });
    });

    it("rise in epoch at every new holder, also the same run after a release", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata);
      await metadata.releaseLeases(runId, partitionsOf(topic));
      assert.equal(await holderOf(metadata, topic.id), undefined);
      const [again] = await metadata.acquireLeases(runId, partitionsOf(topic));
      assert.equal(again?.epoch, 2);
      const stale = flushOf(runId, 1, [{ topicId: topic.id, epoch: 1, baseOffset: 0 }]);
      assert.deepEqual(await metadata.commitFlush(stale), {
        status: "refused",
        partitions: [{ topicId: topic.id, partition: 0, reason: "fenced" }],
      });
    });

    it("cannot be released by somebody else", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata);
      await metadata.releaseLeases(fresh("run"), partitionsOf(topic));
      assert.equal(await holderOf(metadata, topic.id), runId);
    });

    it("are freed by the end of the run, and carry bounds and producer state on", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata);
      const at = { topicId: topic.id, partition: 0 };
      const state = Uint8Array.of(1, 2, 3);
      const flush = flushOf(
        runId,
        1,
        [{ ...at, baseOffset: 0, recordCount: 5 }],
        [{ ...at, state }],
      );
      await metadata.commitFlush(flush);
      await metadata.advanceLogStart([{ ...at, logStartOffset: 2 }]);
      await metadata.endRun(runId);
      const next = fresh("run");
      await startRun(metadata, next);
      const grants = await metadata.acquireLeases(next, [at, { ...at, partition: 9 }]);
      const bounds = { nextOffset: 5, logStartOffset: 2 };
      assert.deepEqual(grants, [{ ...at, runId: next, epoch: 2, ...bounds, producerState: state }]);
    });

    it("are taken over once the run has expired, which ends that run for good", async () => {
      const { metadata, advance } = subject();
      const { topic, runId } = await heldTopic(metadata, 2, 10_000);
      const next = fresh("run");
      await advance(9_999);
      await startRun(metadata, next, 60_000);
      assert.deepEqual(await metadata.acquireLeases(next, partitionsOf(topic)), []);
      await advance(1);
      const [first, second] = partitionsOf(topic);
      assert.ok(first !== undefined && second !== undefined);
      const [taken] = await metadata.acquireLeases(next, [first]);
      assert.equal(taken?.epoch, 2);
      assert.equal(await metadata.renewRun(runId, 10_000), false);
      await assert.rejects(metadata.acquireLeases(runId, [second]), code("LEASE_LOST"));
      const late = flushOf(runId, 1, [{ ...second, baseOffset: 0 }]);
      assert.equal((await metadata.commitFlush(late)).status, "refused");
    });

    it("last as long as they are renewed, and a late renewal counts if nobody came between", async () => {
      const { metadata, advance } = subject();
      const { topic, runId } = await heldTopic(metadata, 1, 10_000);
      const flush = (sequence: number, baseOffset: number) =>
        metadata.commitFlush(flushOf(runId, sequence, [{ topicId: topic.id, baseOffset }]));
      await advance(8_000);
      assert.equal(await metadata.renewRun(runId, 10_000), true);
      await advance(8_000);
      assert.deepEqual(await flush(1, 0), { status: "committed" });
      await advance(2_000);
      assert.deepEqual(await flush(2, 1), {
        status: "refused",
        partitions: [{ topicId: topic.id, partition: 0, reason: "fenced" }],
      });
      assert.equal(await metadata.renewRun(runId, 10_000), true);
      assert.deepEqual(await flush(2, 1), { status: "committed" });
    });

    it("fence two runs against each other: only the newest holder commits", async () => {
      const { metadata, advance } = subject();
      const { topic, runId: first } = await heldTopic(metadata, 1, 1_000);
      const at = { topicId: topic.id };
      let [holder, other, epoch] = [first, fresh("run"), 1];
      for (let round = 0; round < 6; round++) {
        await advance(1_000);
        await startRun(metadata, other, 1_000);
        const [grant] = await metadata.acquireLeases(other, partitionsOf(topic));
        assert.equal(grant?.epoch, epoch + 1);
        assert.equal(grant?.nextOffset, round);
        const late = flushOf(holder, 100, [{ ...at, epoch, baseOffset: round }]);
        assert.equal((await metadata.commitFlush(late)).status, "refused");
        // Not with the right epoch either: it is not its lease.
        const forged = flushOf(holder, 100, [{ ...at, epoch: epoch + 1, baseOffset: round }]);
        assert.equal((await metadata.commitFlush(forged)).status, "refused");
        epoch += 1;
        const good = flushOf(other, round, [{ ...at, epoch, baseOffset: round }]);
        assert.deepEqual(await metadata.commitFlush(good), { status: "committed" });
        [holder, other] = [other, fresh("run")];
      }
    });

    it("are all free at once for a run whose predecessors are known to be dead", async () => {
      const { metadata } = subject();
      const { topic, runId: dead } = await heldTopic(metadata, 2, 1_000_000);
      const next = fresh("run");
      await startRun(metadata, next, 10_000, true);
      assert.deepEqual(
        (await metadata.listRuns()).map((it) => it.runId),
        [next],
      );
      assert.deepEqual(await metadata.listLeases(), []);
      const grants = await metadata.acquireLeases(next, partitionsOf(topic));
      assert.deepEqual(
        grants.map((it) => it.epoch),
        [2, 2],
      );
      const late = flushOf(dead, 1, [{ topicId: topic.id, baseOffset: 0 }]);
      assert.equal((await metadata.commitFlush(late)).status, "refused");
      assert.equal(await metadata.renewRun(dead, 1_000), false);
    });

    it("of a retiring run stay its own until it releases them: it renews and commits, and is listed as retiring", async () => {
      const { metadata } = subject();
      const { topic, runId } = await heldTopic(metadata);
      const retiring = async () =>
        (await metadata.listRuns()).find((it) => it.runId === runId)?.isRetiring;
      assert.equal(await retiring(), false);
      await metadata.retireRun(runId);
      await metadata.retireRun(runId);
      assert.equal(await retiring(), true);
      assert.equal(await metadata.renewRun(runId, 10_000), true);
      assert.equal(await retiring(), true);
      const rival = fresh("run");
      await startRun(metadata, rival);
      assert.deepEqual(await metadata.acquireLeases(rival, partitionsOf(topic)), []);
      const flush = flushOf(runId, 1, [{ topicId: topic.id, baseOffset: 0 }]);
      assert.deepEqual(await metadata.commitFlush(flush), { status: "committed" });
      await metadata.releaseLeases(runId, partitionsOf(topic));
      assert.equal((await metadata.acquireLeases(rival, partitionsOf(topic))).length, 1);
      await metadata.endRun(runId);
      // Over: there is nothing to retire.
      await metadata.retireRun(runId);
      assert.equal(await retiring(), undefined);
    });

    it("are listed of one topic only, if asked so", async () => {
      const { metadata } = subject();
      const first = await heldTopic(metadata, 2);
      const second = await heldTopic(metadata, 1);
      const listed = await metadata.listLeases(first.topic.id);
      assert.deepEqual(
        listed.map((it) => [it.topicId, it.partition, it.runId, it.epoch]),
        [0, 1].map((partition) => [first.topic.id, partition, first.runId, 1]),
      );
      const all = await metadata.listLeases();
      assert.ok(all.some((it) => it.topicId === second.topic.id));
      assert.deepEqual(await metadata.listLeases(fresh("topic")), []);
    });

    it("are not for runs that nobody started", async () => {
      const { metadata } = subject();
      const { topic } = await heldTopic(metadata);
      const unknown = metadata.acquireLeases(fresh("run"), partitionsOf(topic));
      await assert.rejects(unknown, code("LEASE_LOST"));
    });
  });

  describe("producer ids", () => {
    it("are given out once", async () => {
      const { metadata } = subject();
      const given = await Promise.all(
        Array.from({ length: 50 }, () => metadata.allocateProducerId()),
      );
      assert.equal(new Set(given.map((it) => it.producerId)).size, 50);
      assert.ok(given.every((it) => it.producerId >= 0 && it.producerEpoch === 0));
    });

    it("rise in epoch for whoever knows the newest one, and fence the others", async () => {
      const { metadata } = subject();
      const { producerId } = await metadata.allocateProducerId();
      const bumped = await metadata.bumpProducerEpoch(producerId, 0);
      assert.deepEqual(bumped, { producerId, producerEpoch: 1 });
      await assert.rejects(metadata.bumpProducerEpoch(producerId, 0), code("PRODUCER_FENCED"));
      await assert.rejects(metadata.bumpProducerEpoch(producerId, 2), code("PRODUCER_FENCED"));
      await assert.rejects(metadata.bumpProducerEpoch(2 ** 40, 0), code("UNKNOWN_PRODUCER"));
      assert.equal((await metadata.bumpProducerEpoch(producerId, 1)).producerEpoch, 2);
    });
  });
}
