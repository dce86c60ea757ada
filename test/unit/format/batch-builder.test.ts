import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { limits } from "../../../src/core/limits.ts";
import {
  type BatchRecord,
  NO_PRODUCER,
  RecordBatchBuilder,
  restampProducer,
} from "../../../src/format/batch-builder.ts";
import { checkBatch } from "../../../src/format/batch-check.ts";
import { anyRecord, batchOf, bytesOf, decoded, hex, NOW, numbered } from "./samples.ts";

function builderOf(bytesMax = 1_048_576): RecordBatchBuilder {
  return new RecordBatchBuilder({ compression: "none", bytesMax });
}

/** Written by hand from Kafka's message format. */
const GOLDEN = [
  "0000000000000000", // base offset
  "00000051", // length 81
  "ffffffff", // leader epoch -1
  "02", // magic
  "66a62c2d", // CRC-32C
  "0000", // attributes
  "00000001", // last offset delta
  "000001977420dc00", // base timestamp 1750000000000
  "000001977420dc07", // max timestamp
  "000000000000007b", // producer 123
  "0004", // epoch
  "00000009", // base sequence
  "00000002", // two records
  "30", // length 24
  "00 00 00", // attributes, timestamp delta, offset delta
  "0a 757365722d", // key, 5 bytes: user-
  "0a 68656c6c6f", // value, 5 bytes: hello
  "04", // two headers
  "02 61 04 c3a9", // a: é
  "02 62 01", // b: null
  "0c", // length 6
  "00 0e 02", // timestamp delta 7, offset delta 1
  "01", // null key
  "00", // empty value
  "00", // no headers
];

describe("record batch builder", () => {
  it("makes a known batch byte for byte", async () => {
    const records: BatchRecord[] = [
      {
        key: "user-",
        value: new TextEncoder().encode("hello"),
        headers: [
          ["a", "é"],
          ["b", null],
        ],
        timestamp: NOW,
      },
      { value: "", timestamp: NOW + 7 },
    ];
    const stamp = { producerId: 123, producerEpoch: 4, baseSequence: 9 };
    assert.equal(hex(await batchOf(records, "none", stamp)), GOLDEN.join("").replaceAll(" ", ""));
  });

  it("gives back every record as it was, in each compression", async () => {
    for (const compression of ["none", "gzip", "zstd"] as const) {
      await fc.assert(
        fc.asyncProperty(fc.array(anyRecord, { minLength: 1, maxLength: 20 }), async (records) => {
          const bytes = await batchOf(records, compression);
          checkBatch(bytes, { nowMs: NOW, timestampFutureMsMax: 2 ** 53 });
          const expected = records.map((record, i) => ({
            offset: i,
            timestamp: record.timestamp,
            key: bytesOf(record.key),
            value: bytesOf(record.value),
            headers: ((record.headers as [string, string | null][] | undefined) ?? []).map(
              ([name, value]) => [
                new TextDecoder().decode(bytesOf(name) ?? undefined),
                bytesOf(value),
              ],
            ),
          }));
          assert.deepEqual(await decoded(bytes), expected);
        }),
        { numRuns: compression === "none" ? 300 : 40 },
      );
    }
  });

  it("answers each record's encoded size, which add up to the batch", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyRecord, { minLength: 1, maxLength: 20 }), async (records) => {
        const builder = builderOf();
        let size = builder.sizeBytes;
        for (const record of records) size += builder.append(record) ?? Number.NaN;
        assert.equal(builder.sizeBytes, size);
        assert.equal(builder.recordCount, records.length);
        assert.equal((await builder.seal(NO_PRODUCER)).length, size);
      }),
    );
  });

  it("fills a batch exactly: what is refused is what would not have fitted", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyRecord, { minLength: 2, maxLength: 20 }),
        fc.integer({ min: 61, max: 4_000 }),
        async (records, bytesMax) => {
          const builder = new RecordBatchBuilder({
            compression: "none",
            bytesMax,
            bytesInitial: 64,
          });
          const kept: BatchRecord[] = [];
          for (const record of records) {
            const before = builder.sizeBytes;
            const size = builder.append(record);
            if (size !== undefined) {
              kept.push(record);
              continue;
            }
            assert.equal(builder.sizeBytes, before);
            const grown = builderOf();
            for (const one of [...kept, record]) grown.append(one);
            assert.ok(grown.sizeBytes > bytesMax, `${grown.sizeBytes} would have fitted`);
          }
          if (kept.length > 1) assert.ok(builder.sizeBytes <= bytesMax);
          assert.equal((await decoded(await builder.seal(NO_PRODUCER))).length, kept.length);
        },
      ),
    );
  });

  it("counts UTF-8 bytes exactly where a batch is nearly full", () => {
    for (const text of ["é".repeat(100), "€".repeat(100), "😀".repeat(100), "\ud83d".repeat(100)]) {
      const record = { key: text, value: text, headers: { [text]: text }, timestamp: NOW };
      const size = builderOf().append(record) ?? 0;
      const first = { value: "", timestamp: NOW };
      // The first record takes 7 bytes of its own.
      const bytesMax = 61 + 7 + size;
      const full = builderOf(bytesMax);
      full.append(first);
      assert.equal(full.append(record), size);
      const short = builderOf(bytesMax - 1);
      short.append(first);
      assert.equal(short.append(record), undefined);
    }
  });

  it("takes a first record up to the record limit whatever the batch's size, and none above it", async () => {
    // Length (3 bytes), attributes, two deltas, null key, the value's length (3), header count.
    const framing = 11;
    const fits = "x".repeat(limits.recordBytesMax - framing);
    const builder = builderOf(1_000);
    assert.equal(builder.append({ value: fits, timestamp: NOW }), limits.recordBytesMax);
    const bytes = await builder.seal(NO_PRODUCER);
    assert.equal((await decoded(bytes))[0]?.value?.length, fits.length);
    checkBatch(bytes, { nowMs: NOW });

    const over = "x".repeat(limits.recordBytesMax - framing + 1);
    assert.throws(() => builderOf().append({ value: over, timestamp: NOW }), {
      code: "RECORD_TOO_LARGE",
      kind: "invalid",
      message: /limit of 1048576 bytes/,
    });
  });

  it("keeps the smallest and largest timestamp right when records come out of order", async () => {
    const times = [NOW, NOW - 500, NOW + 20, NOW - 3];
    const bytes = await batchOf(times.map((timestamp) => ({ value: "v", timestamp })));
    const header = checkBatch(bytes, { nowMs: NOW + 1_000 });
    assert.equal(header.baseTimestamp, NOW);
    assert.equal(header.maxTimestamp, NOW + 20);
    assert.deepEqual(
      (await decoded(bytes)).map((record) => record.timestamp),
      times,
    );
  });

  it("seals an uncompressed batch at once, and only once", () => {
    const builder = builderOf();
    builder.append({ value: "v", timestamp: NOW });
    assert.ok(builder.seal(NO_PRODUCER) instanceof Uint8Array);
    assert.throws(() => builder.seal(NO_PRODUCER), { code: "INTERNAL" });
    assert.throws(() => builder.append({ value: "v", timestamp: NOW }), { code: "INTERNAL" });
    assert.throws(() => builderOf().seal(NO_PRODUCER), { message: /without records/ });
  });

  it("gets a new producer mark without another change", async () => {
    const stamp = { producerId: 9_007_199_254_740_991, producerEpoch: 32_767, baseSequence: 0 };
    for (const compression of ["none", "gzip"] as const) {
      const bytes = await batchOf(numbered(50), compression);
      const before = await decoded(bytes.slice());
      restampProducer(bytes, stamp);
      const header = checkBatch(bytes, { nowMs: NOW });
      assert.deepEqual(
        [header.producerId, header.producerEpoch, header.baseSequence],
        [stamp.producerId, stamp.producerEpoch, stamp.baseSequence],
      );
      assert.deepEqual(await decoded(bytes), before);
    }
  });

  it("sends data that does not shrink as it is where compressing it would break the limit", async () => {
    const builder = new RecordBatchBuilder({ compression: "gzip", bytesMax: limits.batchBytesMax });
    const noise = () => crypto.getRandomValues(new Uint8Array(4_096));
    while (builder.append({ value: noise(), timestamp: NOW }) !== undefined);
    const rest = limits.batchBytesMax - builder.sizeBytes - 16;
    if (rest > 0) builder.append({ value: noise().subarray(0, rest), timestamp: NOW });
    const bytes = await builder.seal(NO_PRODUCER);
    assert.ok(bytes.length <= limits.batchBytesMax);
    checkBatch(bytes, { nowMs: NOW });
  });

  it("refuses values, keys, headers and timestamps of wrong types or sizes, naming the field", () => {
    const cases: readonly (readonly [record: object, field: string])[] = [
      [{ value: undefined, timestamp: NOW }, "value"],
      [{ value: 5, timestamp: NOW }, "value"],
      [{ value: { a: 1 }, timestamp: NOW }, "value"],
      [{ key: 5, value: "v", timestamp: NOW }, "key"],
      [{ value: "v", headers: { a: 5 }, timestamp: NOW }, "headers.a"],
      [{ value: "v", headers: [[5, "x"]], timestamp: NOW }, "headers: a name"],
      [{ value: "v", headers: { ["x".repeat(1_025)]: "y" }, timestamp: NOW }, "headers"],
      [{ value: "v", headers: Array(1_001).fill(["a", "b"]), timestamp: NOW }, "headers"],
      [{ value: "v", timestamp: -1 }, "timestamp"],
      [{ value: "v", timestamp: 1.5 }, "timestamp"],
      [{ value: "v", timestamp: 2 ** 52 }, "timestamp"],
      [{ value: "v", timestamp: Number.NaN }, "timestamp"],
    ];
    for (const [record, field] of cases) {
      const builder = builderOf();
      assert.throws(() => builder.append(record as BatchRecord), {
        code: "INVALID_ARGUMENT",
        field,
      });
      assert.equal(builder.recordCount, 0);
    }
    const longest = { value: "v", headers: { ["x".repeat(1_024)]: "y" }, timestamp: NOW };
    assert.ok(builderOf().append(longest));
  });
});
