import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../../src/core/clock.ts";
import { limits } from "../../../src/core/limits.ts";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import { SqliteDatabase } from "../../../src/metadata/sqlite-database.ts";
import {
  flushOf,
  heldTopic,
  partitionsOf,
  startRun,
} from "../../../src/testing/contracts/metadata-subject.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { Child } from "../../integration/child.ts";
import { failure, scratchFolders } from "../storage/scratch.ts";

const writer = fileURLToPath(new URL("./flush-writer.ts", import.meta.url));

describe("SQLite metadata", () => {
  const scratch = scratchFolders();
  const place = async () => join(await scratch(), "metadata.db");

  it("is all there again after it was closed and opened", async () => {
    const clock = new ManualClock();
    const path = await place();
    const before = createSqliteMetadata({ path, clock });
    const { topic, runId } = await heldTopic(before, 2);
    const at = { topicId: topic.id, partition: 0 };
    const states = [{ ...at, state: Uint8Array.of(1, 2) }];
    await before.commitFlush(flushOf(runId, 1, [{ ...at, baseOffset: 0, recordCount: 4 }], states));
    const producer = await before.allocateProducerId();
    const nobody = { memberId: "", memberEpoch: 0 };
    await before.commitOffsets("g", nobody, [{ ...at, offset: 3, metadata: "m" }]);
    const facts = async (it: typeof before) => ({
      topics: await it.listTopics(),
      runs: await it.listRuns(),
      leases: await it.listLeases(),
      flushes: await it.listFlushes(0, 10),
      bounds: await it.partitionBounds(partitionsOf(topic)),
      offsets: await it.fetchOffsets("g"),
      groups: await it.listGroups(),
      lag: await it.lagSnapshot(),
      grants: await it.acquireLeases(runId, partitionsOf(topic)),
    });
    const expected = await facts(before);
    await before.close();
    const after = createSqliteMetadata({ path, clock });
    assert.deepEqual(await facts(after), expected);
    assert.equal((await after.allocateProducerId()).producerId, producer.producerId + 1);
    await after.close();
  });

  it("never gives a flush id or producer id out again, whatever was deleted", async () => {
    const clock = new ManualClock();
    const path = await place();
    const first = createSqliteMetadata({ path, clock });
    const { topic, runId } = await heldTopic(first);
    const at = { topicId: topic.id, partition: 0 };
    await first.commitFlush(flushOf(runId, 1, [{ ...at, baseOffset: 0 }]));
    await first.advanceLogStart([{ ...at, logStartOffset: 1 }]);
    assert.equal((await first.dropDeadFlushes(10)).length, 1);
    await first.close();
    const second = createSqliteMetadata({ path, clock });
    await second.commitFlush(flushOf(runId, 2, [{ ...at, baseOffset: 1 }]));
    assert.equal((await second.listFlushes(0, 10))[0]?.flushId, 2);
    await second.close();
  });

  it("has everything that was answered before its process was killed", async () => {
    const path = await place();
    const setup = createSqliteMetadata({ path, clock: systemClock });
    const topic = await setup.createTopic({ name: "t", partitions: 1, retentionMs: 0 });
    await setup.close();
    let expected = 0;
    for (const runId of ["run-1", "run-2", "run-3"]) {
      const child = new Child(writer, [path, topic.id, runId]);
      await child.says("some commits", (out) => out.split("\n").length > 20);
      const { stdout } = await child.end("SIGKILL");
      // The last line may be torn, and one more may be committed than was said.
      const said = stdout.split("\n").length - 1;
      const metadata = createSqliteMetadata({ path, clock: systemClock });
      const [bounds] = await metadata.partitionBounds([{ topicId: topic.id, partition: 0 }]);
      const flushes = (await metadata.listFlushes(0, 1_000_000)).filter((it) => it.runId === runId);
      assert.ok(
        flushes.length === said || flushes.length === said + 1,
        `${said} of ${flushes.length}`,
      );
      assert.deepEqual(
        flushes.map((it) => it.flushSequence),
        flushes.map((_, i) => i + 1),
      );
      expected += flushes.length;
      assert.equal(bounds?.nextOffset, expected);
      await metadata.close();
    }
  });

  it("lets two stores on one file fence each other as two agents would", async () => {
    const clock = new ManualClock();
    const path = await place();
    const a = createSqliteMetadata({ path, clock });
    const b = createSqliteMetadata({ path, clock });
    const { topic, runId } = await heldTopic(a, 1, 1_000);
    const at = { topicId: topic.id, partition: 0 };
    const mine = flushOf(runId, 1, [{ ...at, baseOffset: 0 }]);
    assert.equal((await a.commitFlush(mine)).status, "committed");
    clock.advance(1_000);
    await startRun(b, "run-b");
    const [grant] = await b.acquireLeases("run-b", [at]);
    assert.deepEqual([grant?.epoch, grant?.nextOffset], [2, 1]);
    const late = flushOf(runId, 2, [{ ...at, baseOffset: 1 }]);
    assert.equal((await a.commitFlush(late)).status, "refused");
    assert.equal(await a.resolveFlush(late), "absent");
    const theirs = flushOf("run-b", 1, [{ ...at, epoch: 2, baseOffset: 1 }]);
    assert.equal((await b.commitFlush(theirs)).status, "committed");
    assert.deepEqual((await a.partitionBounds([at]))[0]?.nextOffset, 2);
    await a.close();
    await b.close();
  });

  it("writes when it resolves, so that a commit that failed in its sync cannot come back", async () => {
    const clock = new ManualClock();
    const path = await place();
    const metadata = createSqliteMetadata({ path, clock });
    const look = new SqliteDatabase({ path, clock });
    const resolves = () => look.get("SELECT value FROM counters WHERE name = 'resolves'")?.value;
    assert.equal(resolves(), 0);
    const flush = flushOf("run", 1, [{ topicId: crypto.randomUUID(), baseOffset: 0 }]);
    assert.equal(await metadata.resolveFlush(flush), "absent");
    assert.equal(resolves(), 1);
    look.close();
    await metadata.close();
  });

  it("finds what to trim through indexes, whatever the log's length", async () => {
    const clock = new ManualClock();
    const path = await place();
    const metadata = createSqliteMetadata({ path, clock });
    const look = new SqliteDatabase({ path, clock });
    const plan = look
      .all(
        "EXPLAIN QUERY PLAN SELECT flush_id FROM flushes WHERE watch_topic_id = ? AND watch_partition = ? " +
          "AND watch_end <= ? ORDER BY watch_end LIMIT ?",
        "t",
        0,
        1,
        1,
      )
      .map((row) => String(row.detail));
    assert.ok(
      plan.length === 1 && /^SEARCH flushes USING .*flushes_by_watch/.test(plan[0] ?? ""),
      plan.join(),
    );
    look.close();
    await metadata.close();
  });

  it("has limits on groups' members that say so", async () => {
    const clock = new ManualClock();
    const metadata = createSqliteMetadata({ path: ":memory:", clock });
    const beat = (memberId: string) =>
      metadata.heartbeat({
        group: "g",
        memberId,
        memberEpoch: 0,
        clientId: "c",
        topics: [],
        ...{ instanceId: "", owned: [], rebalanceTimeoutMs: 60_000 },
        sessionTimeoutMs: 10_000,
      });
    for (let i = 0; i < limits.membersPerGroupMax; i++) await beat(`m${i}`);
    const full = failure("OVERLOADED", "none", String(limits.membersPerGroupMax));
    await assert.rejects(beat("one too many"), full);
    clock.advance(10_000);
    await beat("one too many");
    await metadata.close();
  });
});
