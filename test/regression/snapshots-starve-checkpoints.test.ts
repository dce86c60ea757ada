/**
 * Broke: where lag was asked for without a pause, and there was much of it, the database's log (`metadata.db-wal`) grew for as long as that went on.
 * Why: SQLite begins its log anew only when a write finds that nobody reads an older state from it. Each snapshot is a reader while it gives others
 * their turn, and the next one began in the moment in which it ended: no write ever found nobody.
 * Cure: after a snapshot that took more than one turn, the next one waits a turn.
 */
import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createSqliteMetadata } from "../../src/metadata/sqlite.ts";
import { heldTopic, partitionsOf } from "../../src/testing/contracts/metadata-subject.ts";
import { ManualClock, settle } from "../../src/testing/manual-clock.ts";
import { scratchFolders } from "../unit/storage/scratch.ts";

/** A clock by which every step has taken its whole slice. It is never set: both of its sides move alike. */
class SlowClock extends ManualClock {
  #looks = 0;
  override now(): number {
    return super.now() + this.#looks * 1_000;
  }
  override monotonic(): number {
    return super.monotonic() + this.#looks++ * 1_000;
  }
}

const NOBODY = { memberId: "", memberEpoch: 0 };
const GROUPS = 6;
const WRITES = 120;
/** SQLite brings its log into the database at 1,000 pages of 4 KiB; a snapshot and a few writes may come on top. */
const LOG_BYTES_MAX = 16_000_000;

describe("snapshots that follow each other without a pause", () => {
  const scratch = scratchFolders();

  it("let the database's log begin anew", async () => {
    const clock = new SlowClock();
    const path = join(await scratch(), "metadata.db");
    const metadata = createSqliteMetadata({ path, clock });
    const { topic } = await heldTopic(metadata, 50);
    const commit = (write: number) => {
      const text = `${write}`.padEnd(4_000, ".");
      const offsets = partitionsOf(topic).map((it) => ({ ...it, offset: write, metadata: text }));
      return metadata.commitOffsets(`g${write % GROUPS}`, NOBODY, offsets);
    };
    for (let i = 0; i < GROUPS; i++) await commit(i);
    let isOver = false;
    let taken = 0;
    const ask = async () => {
      for (; !isOver; taken++) await metadata.lagSnapshot();
    };
    // Two, so that one always waits.
    const askers = [ask(), ask()];
    let longest = 0;
    for (let write = 0; write < WRITES; write++) {
      await settle(1);
      await commit(write);
      clock.advance(1);
      longest = Math.max(longest, (await stat(`${path}-wal`)).size);
    }
    isOver = true;
    await clock.until(Promise.all(askers));
    await metadata.close();
    assert.ok(taken > 5, `${taken} snapshots`);
    assert.ok(longest < LOG_BYTES_MAX, `the log grew to ${longest} bytes`);
  });
});
