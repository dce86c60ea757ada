import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { splitBatches, stampBatch } from "../../../src/format/batch-header.ts";
import { readUint32, writeInt32 } from "../../../src/format/big-endian.ts";
import {
  type ChunkInput,
  type ChunkShare,
  decodeChunk,
  encodeChunk,
} from "../../../src/format/chunk.ts";
import { scanChunks } from "../../../src/format/chunk-scan.ts";
import { crc32c } from "../../../src/format/crc32c.ts";
import { batchOf, NOW, numbered, TOPIC_A, TOPIC_B } from "./samples.ts";

const RUN = "01J0ZZZZZZZZZZZZZZZZZZZZZZ";

async function shareOf(
  topicId: string,
  partition: number,
  epoch: number,
  baseOffset: number,
  counts: readonly number[],
): Promise<ChunkShare> {
  const batches: Uint8Array[] = [];
  let offset = baseOffset;
  for (const count of counts) {
    const batch = await batchOf(numbered(count));
    stampBatch(batch, offset, epoch);
    batches.push(batch);
    offset += count;
  }
  return { topicId, partition, epoch, baseOffset, batches };
}

async function inputOf(flushSequence = 1): Promise<ChunkInput> {
  const shares = [
    await shareOf(TOPIC_A, 0, 3, 1_000, [2, 5]),
    await shareOf(TOPIC_A, 4, 200, 0, [1]),
    await shareOf(TOPIC_B, 1, 1, 2 ** 40, [3]),
  ];
  return { runId: RUN, flushSequence, appendTimeMs: NOW + 50, shares };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

async function chunkBytes(flushSequence = 1): Promise<Uint8Array> {
  return joined(encodeChunk(await inputOf(flushSequence)).parts);
}

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

describe("scan of a segment", () => {
  it("finds every chunk, in order, and nothing in no bytes", async () => {
    const parts = await Promise.all([1, 2, 3].map(chunkBytes));
    const steps = [...scanChunks(joined(parts))];
    assert.deepEqual(
      steps.map((step) => step.kind === "chunk" && [step.position, step.chunk.flushSequence]),
      [
        [0, 1],
        [parts[0]?.length, 2],
        [2 * (parts[0]?.length ?? 0), 3],
      ],
    );
    assert.deepEqual([...scanChunks(new Uint8Array(0))], []);
  });

  it("says torn, at the right byte, wherever the last write was cut off", async () => {
    const [first, second] = [await chunkBytes(1), await chunkBytes(2)];
    for (let kept = 1; kept < second.length; kept++) {
      const [one, two, ...more] = scanChunks(joined([first, second.subarray(0, kept)]));
      assert.equal(one?.kind, "chunk");
      assert.equal(two?.kind, "torn", `${kept} bytes kept`);
      assert.equal(two?.position, first.length);
      assert.deepEqual(more, []);
    }
  });

  it("says torn for a tail of zeros or noise, as a power cut can leave it", async () => {
    const first = await chunkBytes(1);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.nat(500).map((n) => new Uint8Array(n + 1)),
          fc.uint8Array({ minLength: 1 }),
        ),
        (tail) => {
          const steps = [...scanChunks(joined([first, tail]))];
          assert.deepEqual(
            steps.map((step) => [step.kind, step.position]),
            [
              ["chunk", 0],
              ["torn", first.length],
            ],
          );
        },
      ),
    );
  });

  it("calls damage before a good chunk corrupt, and goes on where the header says", async () => {
    const [a, b, c] = [await chunkBytes(1), await chunkBytes(2), await chunkBytes(3)];
    const damaged = b.slice();
    damaged[b.length - 40] = (damaged[b.length - 40] ?? 0) ^ 1;
    const steps = [...scanChunks(joined([a, damaged, c]))];
    assert.deepEqual(
      steps.map((step) => [step.kind, step.position]),
      [
        ["chunk", 0],
        ["corrupt", a.length],
        ["chunk", a.length + b.length],
      ],
    );
  });

  it("calls damage in the last chunk torn: only metadata can know that it was whole once", async () => {
    const [a, b] = [await chunkBytes(1), await chunkBytes(2)];
    b[b.length - 40] = (b[b.length - 40] ?? 0) ^ 1;
    const steps = [...scanChunks(joined([a, b]))];
    assert.deepEqual(
      steps.map((step) => [step.kind, step.position]),
      [
        ["chunk", 0],
        ["torn", a.length],
      ],
    );
  });

  it("stops at a damaged header and only names where a chunk may go on", async () => {
    const [a, b, c] = [await chunkBytes(1), await chunkBytes(2), await chunkBytes(3)];
    const damaged = b.slice();
    damaged[9] = (damaged[9] ?? 0) ^ 1;
    const steps = [...scanChunks(joined([a, damaged, c]))];
    const [, corrupt] = steps;
    assert.equal(steps.length, 2);
    assert.ok(corrupt?.kind === "corrupt");
    assert.equal(corrupt.next, a.length + b.length);
    assert.equal(corrupt.sound, false);
    assert.equal([...scanChunks(joined([a, damaged, c]), corrupt.next)][0]?.kind, "chunk");
  });

  it("never takes a chunk that somebody sent as a value for one of its own", async () => {
    const inner = await chunkBytes(9);
    const share = await shareOf(TOPIC_A, 0, 3, 1_000, [1]);
    const smuggled = await batchOf([{ value: inner, timestamp: NOW }]);
    stampBatch(smuggled, 1_001, 3);
    const batches = [...share.batches, smuggled];
    const outer = joined(
      encodeChunk({ ...(await inputOf(1)), shares: [{ ...share, batches }] }).parts,
    );
    const found = (bytes: Uint8Array) =>
      [...scanChunks(bytes)].flatMap((step) =>
        step.kind === "chunk" ? [step.chunk.flushSequence] : [],
      );
    const last = await chunkBytes(2);
    assert.deepEqual(found(joined([outer, last])), [1, 2]);
    for (const at of [9, 50, 200, outer.length - 5]) {
      const damaged = outer.slice();
      damaged[at] = (damaged[at] ?? 0) ^ 1;
      assert.ok(!found(joined([damaged, last])).includes(9), `damaged at ${at}`);
    }
  });
});
