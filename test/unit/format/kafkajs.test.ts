/**
 * Our record batches against the encoder and decoder of another Kafka client, kafkajs, both ways.
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { BatchRecord } from "../../../src/format/batch-builder.ts";
import { checkBatch } from "../../../src/format/batch-check.ts";
import type { DecodedRecord } from "../../../src/format/batch-decoder.ts";
import { stampBatch } from "../../../src/format/batch-header.ts";
import { batchOf, bytesOf, decoded, NOW } from "./samples.ts";

interface KafkaRecord {
  readonly offset: string;
  readonly timestamp: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Record<string, Buffer | Buffer[]>;
}

const require = createRequire(import.meta.url);
const Decoder = require("kafkajs/src/protocol/decoder");
const RecordBatchDecoder = require("kafkajs/src/protocol/recordBatch/v0/decoder");
const { RecordBatch } = require("kafkajs/src/protocol/recordBatch/v0");
const KafkaRecordEncoder = require("kafkajs/src/protocol/recordBatch/record/v0");
const Long = require("kafkajs/src/utils/long");

const CODECS = [
  ["none", 0],
  ["gzip", 1],
] as const;

const text = fc.string({ unit: "grapheme", maxLength: 60 });
const bytes = fc.uint8Array({ maxLength: 100 });
const nullable = fc.option(fc.oneof(text, bytes), { nil: null, freq: 4 });
/** kafkajs's decoder takes names like `valueOf` for headers that an object has already. */
const name = fc.string({ minLength: 1, maxLength: 20 }).filter((it) => !(it in {}));

/** kafkajs holds headers in an object: names once each, and no null values when it encodes. */
const record = fc.record({
  key: nullable,
  value: nullable,
  headers: fc.uniqueArray(fc.tuple(name, fc.oneof(text, bytes)), {
    maxLength: 3,
    selector: ([key]) => key,
  }),
  timestamp: fc.integer({ min: -100_000, max: 100_000 }).map((ahead) => NOW + ahead),
});

const records = fc.array(record, { minLength: 1, maxLength: 20 });

/**
 * What both sides must have understood; header order is kafkajs's own where names look like
 * integers.
 */
function plain(record: BatchRecord, offset: number): object {
  const headers = (record.headers ?? []) as readonly (readonly [string, string | Uint8Array])[];
  return {
    offset,
    timestamp: record.timestamp,
    key: bytesOf(record.key),
    value: bytesOf(record.value),
    headers: new Map(headers.map(([key, value]) => [key, bytesOf(value)])),
  };
}

function fromKafka(record: KafkaRecord): object {
  const own = (value: Buffer | null) => (value === null ? null : Uint8Array.from(value));
  return {
    offset: Number(record.offset),
    timestamp: Number(record.timestamp),
    key: own(record.key),
    value: own(record.value),
    headers: new Map(
      Object.entries(record.headers).map(([key, value]) => [key, own(value as Buffer)]),
    ),
  };
}

function fromOurs(record: DecodedRecord): object {
  return { ...record, headers: new Map(record.headers) };
}

async function encodedByKafka(input: readonly BatchRecord[], codec: number): Promise<Uint8Array> {
  const times = input.map((one) => one.timestamp);
  const [first = 0] = times;
  const buffer = (value: unknown) => (value instanceof Uint8Array ? Buffer.from(value) : value);
  const encoded = input.map(({ key, value, headers, timestamp }, i) =>
    KafkaRecordEncoder({
      offsetDelta: i,
      timestampDelta: timestamp - first,
      key: buffer(key),
      value: buffer(value),
      headers: Object.fromEntries(
        ((headers ?? []) as [string, unknown][]).map(([key, value]) => [key, buffer(value)]),
      ),
    }),
  );
  const batch = await RecordBatch({
    compression: codec,
    firstTimestamp: first,
    maxTimestamp: Math.max(...times),
    lastOffsetDelta: input.length - 1,
    producerId: Long.fromValue(4_000),
    producerEpoch: 3,
    firstSequence: 77,
    records: encoded,
  });
  return Uint8Array.from(batch.buffer);
}

describe("record batches and kafkajs", () => {
  for (const [compression, codec] of CODECS) {
    it(`kafkajs reads what we write (${compression})`, async () => {
      await fc.assert(
        fc.asyncProperty(records, async (input) => {
          const stamp = { producerId: 4_000, producerEpoch: 3, baseSequence: 77 };
          const batch = await batchOf(input, compression, stamp);
          stampBatch(batch, 5_000, 6);
          const read = await RecordBatchDecoder(new Decoder(Buffer.from(batch)));
          assert.deepEqual(
            [read.firstOffset, read.partitionLeaderEpoch, read.lastOffsetDelta],
            ["5000", 6, input.length - 1],
          );
          assert.deepEqual(
            [read.producerId, read.producerEpoch, read.firstSequence],
            ["4000", 3, 77],
          );
          assert.equal(read.maxTimestamp, String(Math.max(...input.map((it) => it.timestamp))));
          assert.deepEqual(
            read.records.map(fromKafka),
            input.map((one, i) => plain(one, 5_000 + i)),
          );
        }),
      );
    });

    it(`we read what kafkajs writes, and let it in at the door (${compression})`, async () => {
      await fc.assert(
        fc.asyncProperty(records, async (input) => {
          const batch = await encodedByKafka(input, codec);
          const header = checkBatch(batch, { nowMs: NOW });
          assert.deepEqual(
            [header.producerId, header.producerEpoch, header.baseSequence, header.compression],
            [4_000, 3, 77, compression],
          );
          assert.deepEqual((await decoded(batch)).map(fromOurs), input.map(plain));
        }),
      );
    });
  }

  it("the two write the same bytes for the same uncompressed records", async () => {
    await fc.assert(
      fc.asyncProperty(records, async (input) => {
        const stamp = { producerId: 4_000, producerEpoch: 3, baseSequence: 77 };
        const theirs = await encodedByKafka(input, 0);
        // kafkajs's object moves header names that look like integers to the front.
        const sorted = input.map((one) => ({
          ...one,
          headers: Object.entries(Object.fromEntries(one.headers)),
        }));
        const ours = await batchOf(sorted, "none", stamp);
        stampBatch(ours, 0, 0);
        assert.deepEqual(ours, theirs);
      }),
    );
  });
});
