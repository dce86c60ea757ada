/** What is on disk is Kafka's: another client's decoder reads the batches straight out of the segment files of a data folder. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { embed } from "../../src/agent.ts";
import { splitBatches } from "../../src/format/batch-header.ts";
import { createFolderStore } from "../../src/storage/folder.ts";
import { scanFolder } from "../../src/storage/folder-scan.ts";

const require = createRequire(import.meta.url);
const Decoder = require("kafkajs/src/protocol/decoder");
const readRecordBatch = require("kafkajs/src/protocol/recordBatch/v0/decoder");

interface KafkaRecord {
  readonly offset: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Record<string, Buffer | null>;
}

const RECORDS = 500;

describe("kafkajs", () => {
  const data = mkdtempSync(join(tmpdir(), "streamhouse-kafkajs-"));
  const storeDir = join(data, "store");
  const read: KafkaRecord[] = [];
  const codecs = new Set<number>();

  before(async () => {
    const house = await embed({ data });
    await house.admin.createTopic("read-by-kafka", { partitions: 1 });
    for (const compression of ["none", "gzip"] as const) {
      const producer = house.producer({ compression });
      const sends = Array.from({ length: RECORDS / 2 }, (_, i) =>
        producer.send({
          topic: "read-by-kafka",
          key: i % 3 === 0 ? null : `key-${i}`,
          value: i % 5 === 0 ? null : `value ${i} – ${compression}`,
          headers: i % 2 === 0 ? { codec: compression, empty: "" } : {},
        }),
      );
      await Promise.all(sends);
    }
    await house.close();
    const store = createFolderStore(storeDir);
    for await (const segment of scanFolder(storeDir)) {
      const file = await store.get(segment.key);
      for (const { position, entries } of segment.chunks) {
        for (const entry of entries) {
          const from = position + entry.position;
          for (const { bytes } of splitBatches(file.subarray(from, from + entry.length))) {
            const buffer = Buffer.from(bytes);
            codecs.add(buffer.readInt16BE(21) & 7);
            read.push(...(await readRecordBatch(new Decoder(buffer))).records);
          }
        }
      }
    }
    await store.close();
  });
  after(() => rmSync(data, { recursive: true, force: true }));

  it("reads every record from the segment files, at its offset", () => {
    assert.deepEqual(
      read.map((record) => Number(record.offset)),
      Array.from({ length: RECORDS }, (_, i) => i),
    );
    assert.deepEqual([...codecs].sort(), [0, 1]);
  });

  it("reads keys, values and headers, null told from empty", () => {
    const half = RECORDS / 2;
    read.forEach((record, at) => {
      const i = at % half;
      const codec = at < half ? "none" : "gzip";
      assert.equal(record.key?.toString() ?? null, i % 3 === 0 ? null : `key-${i}`);
      assert.equal(record.value?.toString() ?? null, i % 5 === 0 ? null : `value ${i} – ${codec}`);
      if (i % 2 !== 0) return;
      assert.equal(record.headers.codec?.toString(), codec);
      assert.equal(record.headers.empty?.length, 0);
    });
  });
});
