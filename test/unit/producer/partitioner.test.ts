import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createRequire } from "node:module";
import { describe, it } from "node:test";
import fc from "fast-check";
import { KeyPartitioner, murmur2, partitionForKey } from "../../../src/producer/partitioner.ts";

interface KafkaArguments {
  readonly topic: string;
  readonly partitionMetadata: readonly { readonly partitionId: number; readonly leader: number }[];
  readonly message: { readonly key: Uint8Array | string | null };
}
const { Partitioners } = createRequire(import.meta.url)("kafkajs") as {
  Partitioners: { DefaultPartitioner(): (args: KafkaArguments) => number };
};
const kafkajs = Partitioners.DefaultPartitioner();

function kafkaPartition(key: Uint8Array | string, partitions: number): number {
  const partitionMetadata = Array.from({ length: partitions }, (_, i) => ({
    partitionId: i,
    leader: 0,
  }));
  const message = { key: typeof key === "string" ? key : Buffer.from(key) };
  return kafkajs({ topic: "t", partitionMetadata, message });
}

describe("partitions of keys", () => {
  it("are those of kafkajs's default partitioner for thousands of random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.integer({ min: 1, max: 200 }), (key, n) => {
        assert.equal(partitionForKey(key, n), kafkaPartition(key, n));
      }),
      { numRuns: 5_000 },
    );
  });

  it("are those of kafkajs's default partitioner for text of any script and length", () => {
    const keys = new KeyPartitioner();
    const text = fc.oneof(
      fc.string({ maxLength: 100 }),
      fc.string({ unit: "grapheme", maxLength: 300 }),
    );
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 200 }), (key, n) => {
        assert.equal(keys.partition(key, n), kafkaPartition(key, n));
      }),
      { numRuns: 5_000 },
    );
  });

  it("do not depend on whether a key is text or the same text's bytes", () => {
    const keys = new KeyPartitioner();
    for (const key of ["", "user-1", "Ärger", "日本語", "x".repeat(1_000)]) {
      const bytes = new TextEncoder().encode(key);
      assert.equal(keys.partition(key, 37), keys.partition(bytes, 37));
    }
  });

  // From Apache Kafka's own UtilsTest.testMurmur2.
  it("hash as Kafka's own test vectors say", () => {
    const vectors: [string, number][] = [
      ["21", -973932308],
      ["foobar", -790332482],
      ["a-little-bit-long-string", -985981536],
      ["a-little-bit-longer-string", -1486304829],
      ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
      ["abc", 479470107],
    ];
    for (const [key, hash] of vectors) {
      assert.equal(murmur2(new TextEncoder().encode(key)), hash, key);
    }
  });
});
