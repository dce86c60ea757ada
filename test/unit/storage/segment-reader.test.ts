import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { writeInt32 } from "../../../src/format/big-endian.ts";
import {
  type ChunkIndexEntry,
  type ChunkLocation,
  encodeChunk,
} from "../../../src/format/chunk.ts";
import { createMemoryStore } from "../../../src/storage/memory.ts";
import { readShare } from "../../../src/storage/segment-reader.ts";
import { joined, RUN, shareOf } from "../format/chunk-samples.ts";
import { NOW, TOPIC_A, TOPIC_B } from "../format/samples.ts";
import { failure } from "./scratch.ts";

/** A chunk of two shares behind some other bytes, as in a run's file. `damage` changes the bytes before they are stored. */
async function stored(damage: (bytes: Uint8Array, entry: ChunkIndexEntry) => void = () => {}) {
  const shares = [
    await shareOf(TOPIC_A, 0, 3, 1_000, [2, 5, 1]),
    await shareOf(TOPIC_B, 1, 1, 0, [3]),
  ];
  const chunk = encodeChunk({ runId: RUN, flushSequence: 1, appendTimeMs: NOW, shares });
  const bytes = joined([new Uint8Array(77), ...chunk.parts]);
  const [entry, other] = chunk.entries;
  assert.ok(entry !== undefined && other !== undefined);
  damage(bytes.subarray(77), entry);
  const store = createMemoryStore();
  await store.put("segments/a", [bytes]);
  const location: ChunkLocation = { key: "segments/a", position: 77, length: chunk.length };
  const batches = shares[0]?.batches ?? [];
  return { store, location, entry, other, batches };
}

describe("segment reader", () => {
  it("answers a share's batches as they were stored, and nothing of its neighbours", async () => {
    const { store, location, entry, other, batches } = await stored();
    const options = { verifyCrc: true };
    assert.deepEqual(await readShare(store, location, entry, options), joined(batches));
    assert.equal((await readShare(store, location, other, options)).length, other.length);
  });

  it("answers a part in whole batches, at least one", async () => {
    const { store, location, entry, batches } = await stored();
    const [a, b, c] = batches.map((it) => it.length);
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    const length = async (from: number, maxBytes: number) =>
      (await readShare(store, location, entry, { from, maxBytes })).length;
    assert.equal(await length(0, 1), a);
    assert.equal(await length(0, a), a);
    assert.equal(await length(0, a + b - 1), a);
    assert.equal(await length(0, a + b), a + b);
    assert.equal(await length(a, 1), b);
    assert.equal(await length(a, 1_000_000), b + c);
    assert.equal(await length(a + b, 1), c);
    const middle = await readShare(store, location, entry, { from: a, maxBytes: b });
    assert.deepEqual(middle, batches[1]);
  });

  it("refuses a range that the share does not have", async () => {
    const { store, location, entry } = await stored();
    const outside = failure("CORRUPT_SEGMENT", "none", "segments/a", "outside its chunk");
    await assert.rejects(readShare(store, location, entry, { from: entry.length }), outside);
    await assert.rejects(readShare(store, location, entry, { from: -1 }), outside);
    const short = { ...location, length: entry.position + entry.length - 1 };
    await assert.rejects(readShare(store, short, entry), outside);
  });

  it("names key and byte of what does not fit the index", async () => {
    const { store, location, entry } = await stored();
    const at = `segments/a at byte ${77 + entry.position}`;
    const wrong: readonly [Partial<ChunkIndexEntry>, string][] = [
      [{ baseOffset: 999 }, "found offset 1000, not 999"],
      [{ epoch: 4 }, "found lease epoch 3, not 4"],
      [{ recordCount: 9 }, "end at 1008, not 1009"],
      [{ position: entry.position + 1 }, ""],
    ];
    for (const [change, why] of wrong) {
      const where = change.position === undefined ? at : "segments/a at byte";
      const refused = failure("CORRUPT_SEGMENT", "none", where, why);
      await assert.rejects(readShare(store, location, { ...entry, ...change }), refused);
    }
    const fewer = readShare(store, location, { ...entry, recordCount: 2 });
    await assert.rejects(fewer, failure("CORRUPT_SEGMENT", "none", "more records than indexed"));
    const cut = readShare(store, location, { ...entry, length: entry.length - 1 });
    await assert.rejects(cut, failure("CORRUPT_SEGMENT", "none", "beyond its share"));
  });

  it("finds a flipped bit when it is asked to check the checksums", async () => {
    const flip = (bytes: Uint8Array, { position, length }: ChunkIndexEntry) => {
      const last = position + length - 1;
      bytes[last] = (bytes[last] ?? 0) ^ 1;
    };
    const { store, location, entry } = await stored(flip);
    const wrong = failure("CORRUPT_SEGMENT", "none", "checksum");
    await assert.rejects(readShare(store, location, entry, { verifyCrc: true }), wrong);
    assert.equal((await readShare(store, location, entry)).length, entry.length);
  });

  it("is not led astray by a batch length that lies", async () => {
    for (const length of [0, -1, 40, 2 ** 31 - 1]) {
      const lie = (bytes: Uint8Array, { position }: ChunkIndexEntry) =>
        writeInt32(bytes, position + 8, length);
      const { store, location, entry } = await stored(lie);
      const refused = failure("CORRUPT_SEGMENT", "none", "segments/a at byte");
      await assert.rejects(readShare(store, location, entry), refused);
      await assert.rejects(readShare(store, location, entry, { maxBytes: 1 }), refused);
    }
  });
});
