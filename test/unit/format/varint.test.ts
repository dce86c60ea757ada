import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  VarintReader,
  varintSize,
  writeVarint,
  writeZigzag,
  zigzagSize,
} from "../../../src/format/varint.ts";

const EDGES = [0, 1, 63, 64, 127, 128, 8191, 8192, 16_383, 16_384, 2 ** 21 - 1, 2 ** 21];
const LARGE = [2 ** 28 - 1, 2 ** 28, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 35, 2 ** 49, 2 ** 52 - 1];

function bigVarint(value: bigint): number[] {
  const out: number[] = [];
  for (let rest = value; ; rest >>= 7n) {
    if (rest < 128n) return [...out, Number(rest)];
    out.push(Number(rest & 127n) | 128);
  }
}

describe("varint", () => {
  it("reads back every value it writes, and its size is the bytes written", () => {
    const check = (value: number) => {
      const bytes = new Uint8Array(12);
      const end = writeVarint(bytes, 2, value);
      assert.equal(end - 2, varintSize(value));
      assert.deepEqual([...bytes.subarray(2, end)], bigVarint(BigInt(value)));
      const reader = new VarintReader(bytes, 2, end);
      assert.equal(reader.varint(), value);
      assert.equal(reader.position, end);
    };
    for (const value of [...EDGES, ...LARGE, Number.MAX_SAFE_INTEGER]) check(value);
    fc.assert(fc.property(fc.maxSafeNat(), check));
  });

  it("writes zigzag as 64-bit arithmetic would, from -2^52 to 2^52 - 1", () => {
    const check = (value: number) => {
      const bytes = new Uint8Array(10);
      const end = writeZigzag(bytes, 0, value);
      const big = BigInt(value);
      assert.deepEqual([...bytes.subarray(0, end)], bigVarint((big << 1n) ^ (big >> 63n)));
      assert.equal(end, zigzagSize(value));
      assert.equal(new VarintReader(bytes, 0, end).zigzag(), value);
    };
    for (const value of [...EDGES, ...LARGE]) {
      check(value);
      check(-value - 1);
    }
    fc.assert(fc.property(fc.integer({ min: -(2 ** 52), max: 2 ** 52 - 1 }), check));
  });

  it("refuses a varint that runs over the end it was given, at every length", () => {
    const bytes = new Uint8Array(10);
    const end = writeVarint(bytes, 0, 2 ** 50);
    for (let cut = 0; cut < end; cut++) {
      assert.throws(() => new VarintReader(bytes, 0, cut).varint(), { code: "CORRUPT_BATCH" });
      assert.throws(() => new VarintReader(bytes.subarray(0, cut)).zigzag(), {
        code: "CORRUPT_BATCH",
      });
    }
  });

  it("refuses values above 2^53 and endless ones", () => {
    const beyond = Uint8Array.from(bigVarint(2n ** 53n));
    assert.throws(() => new VarintReader(beyond).varint(), { message: /above 2\^53/ });
    assert.throws(() => new VarintReader(new Uint8Array(50).fill(0xff)).varint(), {
      message: /above 2\^53/,
    });
  });
});
