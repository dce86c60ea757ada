import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import type { MetadataStore } from "../../../src/metadata/metadata-store.ts";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import {
  flushOf,
  heldTopic,
  partitionsOf,
} from "../../../src/testing/contracts/metadata-subject.ts";
import { ManualClock, settle } from "../../../src/testing/manual-clock.ts";
import { failure, scratchFolders } from "../storage/scratch.ts";

const NOBODY = { memberId: "", memberEpoch: 0 };

/** A clock by which every step has taken its whole slice: the longest way through. */
class SlowClock extends ManualClock {
  #looks = 0;
  override monotonic(): number {
    return super.monotonic() + this.#looks++ * 1_000;
  }
}

describe("a lag snapshot in SQLite", () => {
  const scratch = scratchFolders();
  const groups = Array.from({ length: 20 }, (_, i) => `g${i}`);

  async function filled(clock: ManualClock): Promise<{
    path: string;
    metadata: MetadataStore;
    commitAll(offset: number): Promise<void>;
    flush(): Promise<void>;
  }> {
    const path = join(await scratch(), "metadata.db");
    const metadata = createSqliteMetadata({ path, clock });
    const { topic, runId } = await heldTopic(metadata, 5);
    const commitAll = async (offset: number) => {
      const offsets = partitionsOf(topic).map((it) => ({ ...it, offset, metadata: "" }));
      for (const group of groups) await metadata.commitOffsets(group, NOBODY, offsets);
    };
    let sequence = 0;
    const flush = async () => {
      const entries = partitionsOf(topic).map((it) => ({
        ...{ ...it, baseOffset: sequence * 10, recordCount: 10 },
      }));
      await metadata.commitFlush(flushOf(runId, ++sequence, entries));
    };
    await flush();
    await commitAll(1);
    return { path, metadata, commitAll, flush };
  }

  it("is of one moment, whatever is committed while it is being read", async () => {
    const clock = new SlowClock();
    const { metadata, commitAll, flush } = await filled(clock);
    const taking = metadata.lagSnapshot();
    let done = false;
    void taking.finally(() => {
      done = true;
    });
    let writes = 0;
    while (!done) {
      await settle(1);
      clock.advance(1);
      if (done) break;
      await flush();
      await commitAll(10 * ++writes);
    }
    assert.ok(writes > 3, `others had their turn ${writes} times`);
    const { rows } = await taking;
    assert.equal(rows.length, groups.length * 5);
    for (const row of rows) assert.deepEqual([row.committedOffset, row.nextOffset], [1, 10]);
    const later = metadata.lagSnapshot("g7");
    const { rows: fresh } = await clock.until(later);
    assert.ok(fresh.every((it) => it.committedOffset === 10 * writes));
    await metadata.close();
  });

  it("is refused, and leaves no file behind, when the store is closed meanwhile", async () => {
    const clock = new SlowClock();
    const { metadata, path } = await filled(clock);
    const taking = metadata.lagSnapshot();
    taking.catch(() => {});
    await settle(1);
    await metadata.close();
    await assert.rejects(clock.until(taking), failure("CLOSED"));
    await assert.rejects(metadata.lagSnapshot(), failure("CLOSED"));
    assert.deepEqual(await readdir(dirname(path)), ["metadata.db"]);
  });
});
