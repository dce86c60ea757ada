import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { RangeCache } from "../../../src/storage/range-cache.ts";

/** Bytes of an object by its key: what is right is known without a store. */
function bytesOf(key: string, start: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (key.length * 31 + start + i) & 0xff);
}

describe("a cache of ranges", () => {
  it("answers a range from any entry that covers it, and nothing that it does not have", () => {
    const cache = new RangeCache(1_000);
    cache.put("a", 10, bytesOf("a", 10, 20));
    assert.deepEqual(cache.get("a", { start: 15, length: 5 }), bytesOf("a", 15, 5));
    assert.equal(cache.get("a", { start: 9, length: 5 }), undefined);
    assert.equal(cache.get("a", { start: 25, length: 6 }), undefined);
    assert.equal(cache.get("b", { start: 15, length: 5 }), undefined);
    assert.deepEqual(cache.prefix("a", { start: 25, length: 6 }), bytesOf("a", 25, 5));
    assert.equal(cache.prefix("a", { start: 30, length: 6 }).length, 0);
  });

  it("holds no more memory than it may, by what its entries keep alive, and lets the least recently used go", () => {
    const cache = new RangeCache(100);
    for (const [i, key] of ["a", "b", "c"].entries()) {
      assert.equal(cache.put(key, i, bytesOf(key, i, 30)), 0);
    }
    cache.get("a", { start: 0, length: 1 });
    assert.equal(cache.put("d", 0, bytesOf("d", 0, 30)), 1);
    assert.equal(cache.bytes, 90);
    assert.ok(cache.get("a", { start: 0, length: 30 }));
    assert.equal(cache.get("b", { start: 1, length: 30 }), undefined);
    // A small view of a large buffer would keep all of it.
    cache.put("e", 0, new Uint8Array(100_000).subarray(5, 15));
    assert.equal(cache.bytes, 100);
    cache.put("f", 0, new Uint8Array(101));
    assert.equal(cache.bytes, 100, "what is larger than the whole is not kept");
  });

  it("is right whatever was put in, and counts its memory to the byte", () => {
    const key = fc.constantFrom("a", "bb", "ccc");
    const range = fc.record({ start: fc.nat(60), length: fc.nat(40) });
    const step = fc.record({ act: fc.constantFrom("put", "get", "drop"), key, range });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(200), (steps, bytesMax) => {
        const cache = new RangeCache(bytesMax);
        for (const { act, key: object, range: at } of steps) {
          if (act === "put") cache.put(object, at.start, bytesOf(object, at.start, at.length));
          else if (act === "drop") cache.drop(object);
          const found = cache.prefix(object, at);
          assert.deepEqual(found, bytesOf(object, at.start, found.length));
          if (act === "put" && at.length > 0 && at.length <= bytesMax) {
            assert.equal(found.length, at.length, "what was just put in is there");
          }
          if (act === "drop") assert.equal(found.length, 0);
          assert.ok(cache.bytes <= bytesMax);
        }
        for (const object of ["a", "bb", "ccc"]) cache.drop(object);
        assert.deepEqual([cache.bytes, cache.size], [0, 0]);
      }),
    );
  });
});
