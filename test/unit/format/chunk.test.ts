import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { splitBatches } from "../../../src/format/batch-header.ts";
import { readUint32, writeInt32 } from "../../../src/format/big-endian.ts";
import { decodeChunk, encodeChunk } from "../../../src/format/chunk.ts";
import { crc32c } from "../../../src/format/crc32c.ts";
import { chunkBytes, inputOf, joined, RUN, shareOf } from "./chunk-samples.ts";
import { NOW, TOPIC_A } from "./samples.ts";

describe("chunk", () => {
  it("reads back as run, sequence, time and entries, and each entry leads to its batches", async () => {
    const input = await inputOf(77);
    const encoded = encodeChunk(input);
    const bytes = joined(encoded.parts);
    assert.equal(bytes.length, encoded.length);
    const chunk = decodeChunk(bytes);
    assert.deepEqual(chunk, {
      position: 0,
      length: bytes.length,
      runId: RUN,
      flushSequence: 77,
      appendTimeMs: NOW + 50,
      entries: encoded.entries,
    });
    for (const [i, share] of input.shares.entries()) {
      const entry = chunk.entries[i];
      assert.ok(entry);
      const lies = bytes.subarray(entry.position, entry.position + entry.length);
      assert.deepEqual(
        [...splitBatches(lies)].map((view) => view.bytes),
        share.batches,
      );
    }
    assert.deepEqual(chunk.entries[0], {
      topicId: TOPIC_A,
      partition: 0,
      epoch: 3,
      position: chunk.entries[0]?.position,
      length: chunk.entries[0]?.length,
      baseOffset: 1_000,
      recordCount: 7,
      minTimestamp: NOW,
      maxTimestamp: NOW + 4,
      appendTimeMs: NOW + 50,
    });
  });

  it("hands the caller's own batches on, without a copy", async () => {
    const input = await inputOf();
    const { parts } = encodeChunk(input);
    assert.deepEqual(parts.length, 2 + 4);
    for (const batch of input.shares.flatMap((share) => share.batches)) {
      assert.ok(parts.includes(batch));
    }
  });

  it("refuses batches that do not continue one another, and empty shares", async () => {
    const share = await shareOf(TOPIC_A, 0, 3, 1_000, [2, 5]);
    const input = { ...(await inputOf()), shares: [{ ...share, baseOffset: 999 }] };
    assert.throws(() => encodeChunk(input), {
      code: "INTERNAL",
      message: /offset 1000, expected 999/,
    });
    const gap = { ...share, batches: [...share.batches].reverse() };
    assert.throws(() => encodeChunk({ ...input, shares: [gap] }), { code: "INTERNAL" });
    const empty = { ...share, batches: [] };
    assert.throws(() => encodeChunk({ ...input, shares: [empty] }), { message: /no record/ });
  });

  it("is refused when header and index name different epochs, though both checksums are right", async () => {
    const bytes = await chunkBytes();
    const headerEnd = readUint32(bytes, 12) - 4;
    bytes[headerEnd - 1] = 2;
    writeInt32(bytes, headerEnd, crc32c(bytes.subarray(0, headerEnd)));
    writeInt32(bytes, bytes.length - 4, crc32c(bytes.subarray(0, bytes.length - 4)));
    assert.throws(() => decodeChunk(bytes), { message: /header and index disagree/ });
  });

  it("is refused when any bit of it has changed", async () => {
    const bytes = await chunkBytes();
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const at = bit >> 3;
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
      assert.throws(() => decodeChunk(bytes), { code: "CORRUPT_SEGMENT" }, `bit ${bit}`);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
    }
    decodeChunk(bytes);
  });
});
