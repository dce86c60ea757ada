import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { encodeIndex } from "../../../src/format/chunk-index.ts";
import { migrations } from "../../../src/metadata/schema.ts";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import { SqliteDatabase } from "../../../src/metadata/sqlite-database.ts";
import { GroupPlayer, settle } from "../../../src/testing/contracts/group-player.ts";
import { dropAll, flushOf, mergeOf } from "../../../src/testing/contracts/metadata-subject.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { scratchFolders } from "../storage/scratch.ts";

const TOPIC = "0b7c1f0e-8a54-4d5e-9b4f-1c2d3e4f5a6b";
const KEY = "segments/2026-01-01/run-1-000000000001.seg";

/** A database as version 1 wrote it: a topic, a run that holds it, two flushes in one file, and a partition to be trimmed. */
function writeVersion1(path: string, clock: ManualClock): void {
  const db = new SqliteDatabase({ path, clock, migrations: migrations.slice(0, 1) });
  db.write("filling", (nowMs) => {
    db.run("INSERT INTO topics VALUES (?, 'orders', 1, 0, ?)", TOPIC, nowMs);
    db.run("INSERT INTO partitions VALUES (?, 0, 20, 10, 'run-1', 1)", TOPIC);
    const run = "INSERT INTO runs VALUES ('run-1', 'agent', '', ?, ?)";
    db.run(run, nowMs, nowMs + 1_000_000);
    for (const sequence of [1, 2]) {
      const baseOffset = (sequence - 1) * 10;
      const { entries } = flushOf("run-1", sequence, [
        { topicId: TOPIC, baseOffset, recordCount: 10 },
      ]);
      const sql =
        "INSERT INTO flushes (run_id, flush_sequence, object_key, position, length, entries, " +
        "watch_topic_id, watch_partition, watch_end) VALUES ('run-1', ?, ?, ?, 100, ?, ?, 0, ?)";
      const packed = encodeIndex(entries);
      db.run(sql, sequence, KEY, sequence * 1_000, packed, TOPIC, baseOffset + 10);
    }
    db.run("INSERT INTO trims VALUES (?, 0)", TOPIC);
    db.run("INSERT INTO producer_states VALUES (?, 0, ?)", TOPIC, Uint8Array.of(4));
  });
  db.close();
}

describe("SQLite metadata of version 1", () => {
  const scratch = scratchFolders();

  it("is brought to the newest version with all it holds, and can be merged, trimmed and doomed", async () => {
    const clock = new ManualClock();
    const path = join(await scratch(), "metadata.db");
    writeVersion1(path, clock);
    const metadata = createSqliteMetadata({ path, clock });
    const at = { topicId: TOPIC, partition: 0 };
    assert.deepEqual((await metadata.listTopics())[0]?.name, "orders");
    assert.deepEqual(await metadata.partitionBounds([at]), [
      { ...at, nextOffset: 20, logStartOffset: 10 },
    ]);
    const [run] = await metadata.listRuns();
    assert.deepEqual([run?.runId, run?.isLive, run?.load], ["run-1", true, undefined]);
    assert.deepEqual(
      (await metadata.listFlushes(0, 10)).map((it) => [it.flushId, it.location.position]),
      [
        [1, 1_000],
        [2, 2_000],
      ],
    );
    const [grant] = await metadata.acquireLeases("run-1", [at]);
    assert.deepEqual([grant?.epoch, grant?.producerState], [1, Uint8Array.of(4)]);
    // What version 1 was about to trim is trimmed; its file holds a living flush.
    assert.deepEqual(
      (await dropAll(metadata)).map((it) => it.flushSequence),
      [1],
    );
    assert.deepEqual(await metadata.listDoomed(0, 10), []);
    assert.equal(await metadata.commitMerge("run-1", mergeOf(TOPIC, 0, 10, [10])), "committed");
    assert.equal((await dropAll(metadata)).length, 1);
    assert.deepEqual(await metadata.listDoomed(0, 10), [KEY]);
    await metadata.close();
    const again = createSqliteMetadata({ path, clock });
    assert.equal((await again.listMerges(0, 10)).length, 1);
    await again.close();
  });

  it("keeps its groups: who had everything has it still, and shares it with the next one that joins", async () => {
    const clock = new ManualClock();
    const path = join(await scratch(), "metadata.db");
    const db = new SqliteDatabase({ path, clock, migrations: migrations.slice(0, 2) });
    db.write("filling", (nowMs) => {
      db.run("INSERT INTO topics VALUES (?, 'orders', 2, 0, ?)", TOPIC, nowMs);
      for (const partition of [0, 1]) {
        db.run("INSERT INTO partitions VALUES (?, ?, 0, 0, NULL, 0, 0)", TOPIC, partition);
        db.run("INSERT INTO assignments VALUES ('g', ?, ?, 'a', 1)", TOPIC, partition);
      }
      db.run("INSERT INTO consumer_groups VALUES ('g', 2)");
      const member = "INSERT INTO members VALUES ('g', 'a', 'c', '[\"orders\"]', 1, 2, 1, ?)";
      db.run(member, nowMs + 10_000);
    });
    db.close();
    const metadata = createSqliteMetadata({ path, clock });
    assert.equal((await metadata.describeGroup("g"))?.state, "stable");
    const player = (memberId: string) =>
      new GroupPlayer(metadata, { group: "g", memberId, topics: ["orders"] });
    const [a, b] = [player("a"), player("b")];
    a.epoch = 2;
    assert.deepEqual(
      (await a.beat()).assigned.map((it) => [it.partition, it.epoch]),
      [
        [0, 1],
        [1, 1],
      ],
    );
    await settle([a, b]);
    assert.deepEqual([a.names.length, b.names.length], [1, 1]);
    await metadata.close();
  });

  it("finds an object's flushes and what is to be trimmed through indexes", async () => {
    const clock = new ManualClock();
    const db = new SqliteDatabase({ path: ":memory:", clock });
    const plan = (sql: string, ...values: (string | number)[]) =>
      db
        .all(`EXPLAIN QUERY PLAN ${sql}`, ...values)
        .map((row) => String(row.detail))
        .join("; ");
    const byObject = plan("SELECT 1 FROM flushes WHERE object_key = ? LIMIT 1", "k");
    assert.match(byObject, /^SEARCH flushes USING COVERING INDEX flushes_by_object/);
    const merges = plan(
      "SELECT entries FROM merges WHERE topic_id = ? AND partition = ? AND end_offset <= ? " +
        "ORDER BY end_offset LIMIT ?",
      ...["t", 0, 1, 1],
    );
    assert.match(merges, /^SEARCH merges USING INDEX/);
    assert.doesNotMatch(merges, /TEMP B-TREE/);
    db.close();
  });
});
