import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { codecId, compress, compressionOf, decompress } from "../../../src/format/compression.ts";

const CODECS = ["gzip", "zstd"] as const;
const text = new TextEncoder().encode("a line that repeats itself\n".repeat(1_000));

describe("compression", () => {
  it("names codecs by Kafka's ids and back", () => {
    for (const [name, id] of [
      ["none", 0],
      ["gzip", 1],
      ["zstd", 4],
    ] as const) {
      assert.equal(codecId(name), id);
      assert.equal(compressionOf(id), name);
    }
  });

  it("refuses snappy and lz4 by name, unknown ids by number", () => {
    assert.throws(() => compressionOf(2), { code: "UNSUPPORTED_COMPRESSION", message: /snappy/ });
    assert.throws(() => compressionOf(3), { code: "UNSUPPORTED_COMPRESSION", message: /lz4/ });
    assert.throws(() => compressionOf(7), { code: "UNSUPPORTED_COMPRESSION", message: /codec 7/ });
  });

  it("gives back what went in", async () => {
    assert.equal(await compress("none", text), text);
    for (const codec of CODECS) {
      const small = await compress(codec, text);
      assert.ok(small.length < text.length / 10, codec);
      assert.deepEqual(await decompress(codec, small, text.length), text);
    }
  });

  it("stops at the limit instead of unpacking a bomb", async () => {
    for (const codec of CODECS) {
      const bomb = await compress(codec, new Uint8Array(4_000_000));
      assert.ok(bomb.length < 100_000);
      await assert.rejects(decompress(codec, bomb, 100_000), {
        code: "CORRUPT_BATCH",
        kind: "corrupt",
        message: /limit of 100000 bytes/,
      });
    }
  });

  it("answers damaged data with CORRUPT_BATCH", async () => {
    for (const codec of CODECS) {
      const noise = Uint8Array.from({ length: 100 }, (_, i) => (i * 71) & 0xff);
      await assert.rejects(decompress(codec, noise), { code: "CORRUPT_BATCH" }, codec);
    }
  });
});
