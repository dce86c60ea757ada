import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { limits } from "../../../src/core/limits.ts";
import { checkBatch } from "../../../src/format/batch-check.ts";
import { readBatchHeader, splitBatches, stampBatch } from "../../../src/format/batch-header.ts";
import { writeInt16, writeInt32, writeInt64 } from "../../../src/format/big-endian.ts";
import { crc32c } from "../../../src/format/crc32c.ts";
import { batchOf, NOW, numbered } from "./samples.ts";

const options = { nowMs: NOW + 1_000 };

/** A good batch of three records, changed by `change`; the CRC is right again unless `keepCrc`. */
async function changed(
  change: (bytes: Uint8Array) => void,
  { keepCrc = false }: { keepCrc?: boolean } = {},
): Promise<Uint8Array> {
  const bytes = await batchOf(numbered(3));
  change(bytes);
  if (!keepCrc) writeInt32(bytes, 17, crc32c(bytes.subarray(21)));
  return bytes;
}

async function refused(
  expected: { code: string; message: RegExp },
  change: (bytes: Uint8Array) => void,
): Promise<void> {
  const bytes = await changed(change);
  assert.throws(() => checkBatch(bytes, options), expected);
}

describe("batch header", () => {
  it("says what the batch was sealed with", async () => {
    const stamp = { producerId: 2 ** 40 + 5, producerEpoch: 7, baseSequence: 2 ** 31 - 1 };
    const bytes = await batchOf(numbered(3), "none", stamp);
    stampBatch(bytes, 2 ** 52 + 3, 9);
    const header = readBatchHeader(bytes);
    assert.deepEqual(header, {
      ...stamp,
      baseOffset: 2 ** 52 + 3,
      batchLength: bytes.length - 12,
      partitionLeaderEpoch: 9,
      magic: 2,
      crc: crc32c(bytes.subarray(21)),
      attributes: 0,
      compression: "none",
      lastOffsetDelta: 2,
      baseTimestamp: NOW,
      maxTimestamp: NOW + 2,
      recordCount: 3,
      sizeBytes: bytes.length,
    });
  });

  it("is stamped with offset and epoch without a change to the CRC", async () => {
    const bytes = await batchOf(numbered(3));
    stampBatch(bytes, 123_456_789_012, 42);
    const header = checkBatch(bytes, options);
    assert.equal(header.baseOffset, 123_456_789_012);
    assert.equal(header.partitionLeaderEpoch, 42);
  });

  it("walks batches that lie one behind the other, and says where bytes are missing", async () => {
    const [a, b] = [await batchOf(numbered(3)), await batchOf(numbered(5), "gzip")];
    const both = new Uint8Array([...a, ...b]);
    const views = [...splitBatches(both)];
    assert.deepEqual(
      views.map((view) => view.header.recordCount),
      [3, 5],
    );
    assert.deepEqual(
      views.map((view) => view.bytes),
      [a, b],
    );
    assert.deepEqual([...splitBatches(new Uint8Array(0))], []);
    assert.throws(() => [...splitBatches(both.subarray(0, both.length - 1))], {
      code: "CORRUPT_BATCH",
      message: new RegExp(`at byte ${a.length}`),
    });
  });
});

describe("the door for batches", () => {
  it("lets good batches of every compression in", async () => {
    for (const compression of ["none", "gzip", "zstd"] as const) {
      const bytes = await batchOf(numbered(100), compression);
      assert.equal(checkBatch(bytes, options).compression, compression);
    }
  });

  it("refuses a batch that is cut off anywhere, or has bytes behind it", async () => {
    const bytes = await batchOf(numbered(3));
    for (let cut = 0; cut < bytes.length; cut++) {
      const part = bytes.slice(0, cut);
      assert.throws(() => checkBatch(part, options), { code: "CORRUPT_BATCH", kind: "corrupt" });
    }
    assert.throws(() => checkBatch(new Uint8Array([...bytes, 0]), options), {
      code: "CORRUPT_BATCH",
      message: /exactly one whole batch/,
    });
  });

  it("notices every single flipped bit but those of the two fields that the agent writes", async () => {
    const bytes = await batchOf(numbered(3));
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const at = bit >> 3;
      if (at < 8 || (at >= 12 && at < 16)) continue;
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
      assert.throws(() => checkBatch(bytes, options), { name: "StreamHouseError" }, `bit ${bit}`);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
    }
    checkBatch(bytes, options);
  });

  it("refuses other magics", async () => {
    await refused({ code: "UNSUPPORTED_MAGIC", message: /magic 1/ }, (bytes) => {
      bytes[16] = 1;
    });
  });

  it("refuses lz4 by name", async () => {
    await refused({ code: "UNSUPPORTED_COMPRESSION", message: /lz4/ }, (bytes) => {
      writeInt16(bytes, 21, 3);
    });
  });

  it("refuses log-append-time, transactional, control and unknown attribute bits", async () => {
    const bits = [
      [0x08, /log-append-time/],
      [0x10, /transactional/],
      [0x20, /control/],
      [0x40, /0x40/],
      [0x8000, /0x8000/],
    ] as const;
    for (const [bit, message] of bits) {
      await refused({ code: "UNSUPPORTED_ATTRIBUTES", message }, (b) => writeInt16(b, 21, bit));
    }
  });

  it("refuses a wrong CRC, naming both", async () => {
    const bytes = await changed((b) => writeInt32(b, 17, 0x12345678), { keepCrc: true });
    assert.throws(() => checkBatch(bytes, options), {
      code: "CORRUPT_BATCH",
      message: /0x12345678/,
    });
  });

  it("refuses counts that cannot be", async () => {
    await refused({ code: "CORRUPT_BATCH", message: /without records/ }, (bytes) => {
      writeInt32(bytes, 57, 0);
      writeInt32(bytes, 23, -1);
    });
    await refused({ code: "CORRUPT_BATCH", message: /negative/ }, (b) => writeInt32(b, 57, -2));
    await refused({ code: "CORRUPT_BATCH", message: /lastOffsetDelta is 3, expected 2/ }, (b) =>
      writeInt32(b, 23, 3),
    );
    await refused({ code: "BATCH_TOO_LARGE", message: /1000001 records/ }, (bytes) => {
      writeInt32(bytes, 57, 1_000_001);
      writeInt32(bytes, 23, 1_000_000);
    });
  });

  it("refuses int64s beyond 2^53, naming the field", async () => {
    for (const [at, field] of [
      [0, "baseOffset"],
      [27, "baseTimestamp"],
      [43, "producerId"],
    ] as const) {
      await refused({ code: "CORRUPT_BATCH", message: new RegExp(field) }, (bytes) => {
        writeInt32(bytes, at, 0x0020_0000);
        writeInt32(bytes, at + 4, 0);
      });
    }
  });

  it("refuses a producer id without epoch or sequence, and one below -1", async () => {
    await refused({ code: "CORRUPT_BATCH", message: /producer 5/ }, (b) => writeInt64(b, 43, 5));
    await refused({ code: "CORRUPT_BATCH", message: /-7/ }, (b) => writeInt64(b, 43, -7));
  });

  it("bounds timestamps by the clock: an hour ahead by default, back only when asked", async () => {
    const ahead = await batchOf([{ value: "x", timestamp: NOW + 3_600_000 }]);
    checkBatch(ahead, { nowMs: NOW });
    assert.throws(() => checkBatch(ahead, { nowMs: NOW - 1 }), { code: "TIMESTAMP_OUT_OF_BOUNDS" });
    checkBatch(ahead, { nowMs: NOW - 1, timestampFutureMsMax: 4_000_000 });

    const old = await batchOf([{ value: "x", timestamp: 0 }]);
    checkBatch(old, { nowMs: NOW });
    assert.throws(() => checkBatch(old, { nowMs: NOW, timestampPastMsMax: 1_000 }), {
      code: "TIMESTAMP_OUT_OF_BOUNDS",
      message: new RegExp(`accepted are ${NOW - 1_000} to`),
    });
    await refused({ code: "TIMESTAMP_OUT_OF_BOUNDS", message: /-5/ }, (b) => writeInt64(b, 27, -5));
    await refused({ code: "CORRUPT_BATCH", message: /lies before/ }, (b) =>
      writeInt64(b, 27, NOW + 3),
    );
  });

  it("refuses a batch over the size limit before it looks at it", () => {
    assert.throws(() => checkBatch(new Uint8Array(limits.batchBytesMax + 1), options), {
      code: "BATCH_TOO_LARGE",
      message: /1114113 bytes is over the limit of 1114112/,
    });
  });
});
