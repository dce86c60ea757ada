/**
 * Broke: while nothing could be flushed (a write that does not come back), each batch whose caller gave up stayed in the flush
 * buffer's list, although it no longer counted against the agent's limit: memory grew without bound. Flushed batches were
 * held as well, up to 256 of them.
 * Why: the list was only cut by `take()`, and only when 256 of its places were behind.
 * Cure: places are emptied as they are taken, and settled batches are swept out when they are the greater part.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FlushBuffer } from "../../src/agent/flush-buffer.ts";
import { type Hold, PendingBatch } from "../../src/agent/pending-batch.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import { readBatchHeader } from "../../src/format/batch-header.ts";
import { batchOf } from "../unit/agent/bench-agent.ts";
import { countHeld } from "./collect-garbage.ts";

const gaveUp = new StreamHouseError({ code: "ABORTED", kind: "closed", message: "gave up" });

function pending(): PendingBatch {
  const bytes = batchOf(["value"]);
  return new PendingBatch({
    partition: {} as Hold,
    bytes,
    header: readBatchHeader(bytes),
    charge: bytes.length,
    receivedAt: 0,
    spanContext: undefined,
    keep: false,
  });
}

function pushAndFail(buffer: FlushBuffer, count: number): WeakRef<PendingBatch>[] {
  return Array.from({ length: count }, () => {
    const batch = pending();
    buffer.push(batch);
    buffer.remove(batch);
    batch.fail(gaveUp);
    return new WeakRef(batch);
  });
}

describe("the flush buffer", () => {
  it("lets go of batches that were given up while nothing is flushed", async () => {
    const buffer = new FlushBuffer();
    assert.ok((await countHeld(pushAndFail(buffer, 5_000))) < 1_000);
    assert.equal(buffer.length, 0);
    assert.equal(buffer.bytes, 0);
    assert.equal(buffer.oldest, undefined);
  });

  it("lets go of them behind one that still waits, which stays the first", async () => {
    const buffer = new FlushBuffer();
    const first = pending();
    buffer.push(first);
    const refs = pushAndFail(buffer, 5_000);
    const last = pending();
    buffer.push(last);
    assert.ok((await countHeld(refs)) < 1_000);
    assert.equal(buffer.length, 2);
    assert.deepEqual(buffer.take(1_000_000), [first, last]);
  });

  it("holds nothing that it handed over", async () => {
    const buffer = new FlushBuffer();
    const refs: WeakRef<PendingBatch>[] = [];
    for (let i = 0; i < 200; i++) {
      buffer.push(pending());
      buffer.push(pending());
      for (const batch of buffer.take(1)) refs.push(new WeakRef(batch));
    }
    assert.equal(refs.length, 200);
    assert.ok((await countHeld(refs)) < 100);
    assert.equal(buffer.length, 200);
  });
});
