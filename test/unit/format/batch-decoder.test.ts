import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { decodeBatch, plainRecord } from "../../../src/format/batch-decoder.ts";
import { readBatchHeader, stampBatch } from "../../../src/format/batch-header.ts";
import { writeInt16, writeInt32 } from "../../../src/format/big-endian.ts";
import { compress } from "../../../src/format/compression.ts";
import { crc32c } from "../../../src/format/crc32c.ts";
import { batchOf, decoded, fromHex, NOW, numbered } from "./samples.ts";

/** A batch around records written by hand, with a right CRC and the count given. */
function batchAround(records: Uint8Array, count: number, codec = 0): Uint8Array {
  const bytes = new Uint8Array(61 + records.length);
  bytes.set(records, 61);
  writeInt32(bytes, 8, bytes.length - 12);
  bytes[16] = 2;
  writeInt16(bytes, 21, codec);
  writeInt32(bytes, 23, count - 1);
  writeInt32(bytes, 57, count);
  writeInt32(bytes, 17, crc32c(bytes.subarray(21)));
  return bytes;
}

const RECORD = "0e 00 00 00 02 6b 01 00"; // key "k", null value
const SECOND = "0c 00 00 02 01 01 00"; // offset delta 1, nulls

describe("record batch decoder", () => {
  it("counts offsets from the base offset that the agent stamped", async () => {
    const bytes = await batchOf(numbered(3));
    stampBatch(bytes, 2 ** 40, 1);
    const offsets = (await decoded(bytes)).map((record) => record.offset);
    assert.deepEqual(offsets, [2 ** 40, 2 ** 40 + 1, 2 ** 40 + 2]);
  });

  it("leaves out records below the offset asked for, in every compression", async () => {
    for (const compression of ["none", "gzip", "zstd"] as const) {
      const bytes = await batchOf(numbered(10), compression);
      stampBatch(bytes, 100, 1);
      const records = await decodeBatch(bytes, plainRecord, { fromOffset: 107 });
      assert.deepEqual(
        records.map((record) => record.offset),
        [107, 108, 109],
      );
      assert.equal(new TextDecoder().decode(records[0]?.value ?? undefined), "value-7");
      assert.deepEqual(await decodeBatch(bytes, plainRecord, { fromOffset: 200 }), []);
    }
  });

  it("copies nothing: keys, values and header values are views into the batch", async () => {
    const record = { key: "k", value: "v", headers: { h: "w" }, timestamp: NOW };
    const bytes = await batchOf([record]);
    // A plain Uint8Array even where the batch came as a Buffer.
    const [got] = await decoded(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    for (const view of [got?.key, got?.value, got?.headers[0]?.[1]]) {
      assert.equal(view?.buffer, bytes.buffer);
      assert.equal(view?.constructor, Uint8Array);
    }
  });

  it("decodes an uncompressed batch at once, and hands each record to the caller's own maker", async () => {
    const bytes = await batchOf(numbered(3));
    const values = decodeBatch(bytes, (_offset, _time, _key, value) => value?.length);
    assert.deepEqual(values, [7, 7, 7]);
  });

  it("lets what the maker throws through", async () => {
    const bytes = await batchOf(numbered(1));
    const mine = new Error("mine");
    assert.throws(
      () =>
        decodeBatch(bytes, () => {
          throw mine;
        }),
      mine,
    );
  });

  it("notices a damaged CRC, unless it was checked before", async () => {
    const bytes = await batchOf(numbered(3));
    const last = bytes.length - 2;
    bytes[last] = (bytes[last] ?? 0) ^ 1;
    assert.throws(() => decodeBatch(bytes, plainRecord), {
      code: "CORRUPT_BATCH",
      kind: "corrupt",
    });
    const header = readBatchHeader(bytes);
    assert.equal((decodeBatch(bytes, plainRecord, { header, checkCrc: false }) as []).length, 3);
  });

  it("reads records written by hand, and refuses each way in which one can be wrong", () => {
    const good = decodeBatch(batchAround(fromHex(RECORD + SECOND), 2), plainRecord);
    assert.ok(Array.isArray(good));
    assert.deepEqual(
      good.map(({ offset, key, value }) => ({ offset, key, value })),
      [
        { offset: 0, key: Uint8Array.of(0x6b), value: null },
        { offset: 1, key: null, value: null },
      ],
    );
    const cases: readonly (readonly [what: string, records: string, count: number, RegExp])[] = [
      ["more records than said", RECORD + SECOND, 1, /says 1 records, 7 bytes follow/],
      ["fewer records than said", `1a 00 00 00 0e ${"00".repeat(7)} 01 00`, 2, /ends after 1/],
      ["more than the bytes can hold", RECORD, 1_000, /cannot hold/],
      ["a negative count of headers", "0e 00 00 00 02 6b 01 01", 1, /headers of length -1/],
      ["more headers than bytes", "0e 00 00 00 02 6b 01 7e", 1, /headers of length 63/],
      ["a header without a name", "12 00 00 00 02 6b 01 02 01 01", 1, /without a name/],
      ["a length past the batch", "7e 00 00 00 02 6b 01 00", 1, /length 63 does not fit/],
      ["a negative length", "0d 00 00 00 02 6b 01 00", 1, /length -7 does not fit/],
      ["a key past its record", "0e 00 00 00 7e 6b 01 00", 1, /key or value of length 63/],
      ["a key of length -2", "0e 00 00 00 03 6b 01 00", 1, /key or value of length -2/],
      ["bytes left in the record", "10 00 00 00 02 6b 01 00 00", 1, /1 bytes too many/],
      ["a wrong offset delta", "0e 00 00 04 02 6b 01 00", 1, /offset delta 2/],
      ["a varint past its record", "0c 00 00 00 01 01 80 0c 00 00 02 01 01 00", 2, /runs over/],
    ];
    for (const [what, records, count, message] of cases) {
      const bytes = batchAround(fromHex(records), count);
      const expected = {
        name: "StreamHouseError",
        code: "CORRUPT_BATCH",
        kind: "corrupt",
        message,
      };
      assert.throws(() => decodeBatch(bytes, plainRecord), expected, what);
    }
  });

  it("refuses compressed records that are cut off, which some runtimes' zstd does not", async () => {
    for (const [codec, id] of [
      ["gzip", 1],
      ["zstd", 4],
    ] as const) {
      const many = Array.from({ length: 40_000 }, () => "0c 00 00 00 01 01 00").join("");
      const packed = await compress(codec, fromHex(many));
      const bytes = batchAround(packed.subarray(0, packed.length - 5), 40_000, id);
      await assert.rejects(async () => await decodeBatch(bytes, plainRecord), {
        code: "CORRUPT_BATCH",
      });
    }
  });

  it("answers any bytes with records or a StreamHouseError, never with anything else", async () => {
    const tryDecode = async (bytes: Uint8Array) => {
      try {
        await decodeBatch(bytes, plainRecord, { checkCrc: false });
      } catch (error) {
        assert.ok(StreamHouseError.is(error), String(error));
      }
    };
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), tryDecode));
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 120 }), fc.integer({ min: 1, max: 12 }), (b, n) =>
        tryDecode(batchAround(b, n)),
      ),
      { numRuns: 1_000 },
    );
    const bytes = await batchOf([
      ...numbered(3),
      { value: "v", headers: { a: "b" }, timestamp: NOW },
    ]);
    for (let at = 57; at < bytes.length; at++) {
      for (const change of [0x01, 0x80, 0xff]) {
        const damaged = bytes.slice();
        damaged[at] = (damaged[at] ?? 0) ^ change;
        await tryDecode(damaged);
      }
    }
  });
});
