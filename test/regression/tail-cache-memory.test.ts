/**
 * Broke: the tail cache held up to 64 evicted batches for each partition, which its limit did not count. With many partitions and
 * batches of a megabyte that was gigabytes beside a limit of 128 MiB.
 * Why: evicting moved the head of a partition's list and left the batch in its slot until the list was cut.
 * Cure: the slot is emptied as the batch leaves.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TailCache } from "../../src/agent/tail-cache.ts";
import { countHeld } from "./collect-garbage.ts";

const BATCH_BYTES = 16_384;
const PARTITIONS = 20;
const ROUNDS = 40;

describe("the tail cache", () => {
  it("holds no more memory than its limit, however many partitions there are", async () => {
    const fits = 2 * PARTITIONS;
    const cache = new TailCache(fits * BATCH_BYTES);
    const all: WeakRef<Uint8Array>[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const bytes = new Uint8Array(BATCH_BYTES);
        all.push(new WeakRef(bytes));
        const at = { baseOffset: round, endOffset: round + 1, appendTimeMs: 0 };
        cache.add("topic", partition, { ...at, bytes, charge: BATCH_BYTES });
      }
    }
    const held = await countHeld(all);
    assert.equal(cache.bytes, fits * BATCH_BYTES);
    // A collector that looks for pointers on the stack may keep some of the 800; what broke held nearly all.
    assert.ok(held <= fits + 200, `${held} batches are held, ${fits} fit into the limit`);
    assert.equal(cache.read({ topicId: "topic", partition: 3 }, ROUNDS - 1, 1).length, 1);
  });
});
