/** What every object store promises. Run by object-store.test.ts for each implementation. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { StreamHouseError } from "../../core/errors.ts";
import type { ObjectStore } from "../../storage/object-store.ts";

/** How the contract gets an object store to look at. */
export interface ObjectStoreSubject {
  /** An empty store. */
  readonly create: () => Promise<ObjectStore>;
  /** Called after the tests, with the store closed. */
  readonly cleanUp?: () => Promise<void>;
}

/** Keys that no store takes: they could leave a folder, or mean different things in different stores. */
const BAD_KEYS = [
  "",
  "/",
  "/a",
  "a/",
  "a//b",
  ".",
  "..",
  "../a",
  "a/../b",
  "a/./b",
  ".hidden",
  "a/.hidden",
  "a\\b",
  "a\0b",
  "a b",
  "ä",
  "%2e%2e/a",
  "C:/a",
  "a".repeat(1_000),
];

const bytes = (...values: number[]) => Uint8Array.from(values);
const ascending = (length: number) => Uint8Array.from({ length }, (_, i) => i % 251);

/** Declares the tests that every ObjectStore must pass, for `node:test` on any runtime. */
export function objectStoreContract(name: string, subject: ObjectStoreSubject): void {
  describe(`object store contract: ${name}`, () => {
    let store: ObjectStore;
    before(async () => {
      store = await subject.create();
    });
    after(async () => {
      await store.close();
      await subject.cleanUp?.();
    });
    const keys = async (prefix: string, startAfter?: string): Promise<string[]> => {
      const found: string[] = [];
      for await (const info of store.list(prefix, startAfter)) found.push(info.key);
      return found;
    };

    it("gives back what was put, joined from its parts", async () => {
      await store.put("whole/a", [bytes(1, 2), bytes(), bytes(3)]);
      assert.deepEqual(await store.get("whole/a"), bytes(1, 2, 3));
      await store.put(
        "whole/many",
        Array.from({ length: 3_000 }, () => bytes(7)),
      );
      assert.equal((await store.get("whole/many")).length, 3_000);
    });

    it("keeps an empty object apart from a missing one", async () => {
      await store.put("empty/a", []);
      assert.equal((await store.get("empty/a")).length, 0);
      assert.equal((await store.head("empty/a"))?.size, 0);
      assert.equal(await store.head("empty/b"), undefined);
    });

    it("never overwrites", async () => {
      await store.put("once/a", [bytes(1)]);
      await assert.rejects(store.put("once/a", [bytes(2)]), code("OBJECT_EXISTS", "conflict"));
      assert.deepEqual(await store.get("once/a"), bytes(1));
      const puts = Array.from({ length: 8 }, (_, i) => store.put("once/raced", [bytes(i)]));
      const results = await Promise.allSettled(puts);
      const won = results.flatMap((it, i) => (it.status === "fulfilled" ? [i] : []));
      assert.equal(won.length, 1);
      assert.deepEqual(await store.get("once/raced"), bytes(won[0] ?? -1));
    });

    it("has one winner among writers that race, whatever else they write, in every round", async () => {
      for (let round = 0; round < 5; round++) {
        const key = `race/${round}`;
        const puts = Array.from({ length: 6 }, (_, writer) =>
          store.put(key, [new Uint8Array(50_000).fill(writer), bytes(round)]),
        );
        const others = Array.from({ length: 3 }, (_, i) => store.put(`${key}-${i}`, [bytes(i)]));
        const results = await Promise.allSettled(puts);
        await Promise.all(others);
        const won = results.flatMap((it, writer) => (it.status === "fulfilled" ? [writer] : []));
        assert.equal(won.length, 1, `round ${round}`);
        for (const it of results) if (it.status === "rejected") code("OBJECT_EXISTS")(it.reason);
        const expected = new Uint8Array(50_001).fill(won[0] ?? -1);
        expected[50_000] = round;
        assert.deepEqual(await store.get(key), expected);
      }
    });

    it("tells the CRC-32C of what was put, if it tells one", async () => {
      await store.put("checksum/a", [bytes(49, 50, 51, 52), bytes(53, 54, 55, 56, 57)]);
      const told = (await store.head("checksum/a"))?.crc32c;
      // The standard's check value: CRC-32C of "123456789".
      if (told !== undefined) assert.equal(told, 0xe3069283);
    });

    it("gives many ranges of one object at once, each its own", async () => {
      const whole = ascending(200_000);
      await store.put("ranges/a", [whole.subarray(0, 70_000), whole.subarray(70_000)]);
      const ranges = Array.from({ length: 40 }, (_, i) => ({
        start: i * 4_999,
        length: 5_000 - i,
      }));
      const read = await Promise.all(ranges.map((range) => store.get("ranges/a", range)));
      for (const [i, { start, length }] of ranges.entries()) {
        assert.deepEqual(read[i], whole.subarray(start, start + length));
      }
    });

    it("keeps nothing of the caller's memory, and gives none of its own away", async () => {
      const mine = bytes(1, 2, 3);
      await store.put("copy/a", [mine]);
      mine.fill(9);
      const got = await store.get("copy/a");
      got.fill(8);
      assert.deepEqual(await store.get("copy/a"), bytes(1, 2, 3));
    });

    it("reads exactly the range asked for", async () => {
      await store.put("range/a", [ascending(1_000)]);
      const whole = ascending(1_000);
      for (const [start, length] of [
        [0, 1],
        [0, 1_000],
        [999, 1],
        [100, 500],
        [5, 0],
        [1_000, 0],
      ]) {
        const range = { start: start ?? 0, length: length ?? 0 };
        const expected = whole.subarray(range.start, range.start + range.length);
        assert.deepEqual(await store.get("range/a", range), expected);
      }
    });

    it("says that an object is too short rather than answering with less", async () => {
      await store.put("short/a", [ascending(10)]);
      for (const range of [
        { start: 0, length: 11 },
        { start: 10, length: 1 },
        { start: 99, length: 1 },
      ]) {
        await assert.rejects(store.get("short/a", range), code("CORRUPT_SEGMENT", "corrupt"));
      }
      for (const range of [
        { start: -1, length: 1 },
        { start: 0, length: -1 },
        { start: 0.5, length: 1 },
      ]) {
        await assert.rejects(store.get("short/a", range), code("INVALID_ARGUMENT", "invalid"));
      }
    });

    it("names the key when there is no such object", async () => {
      const missing = (error: unknown) =>
        code("OBJECT_NOT_FOUND")(error) && (error as Error).message.includes("missing/a");
      await assert.rejects(store.get("missing/a"), missing);
      await assert.rejects(store.get("missing/a", { start: 0, length: 1 }), missing);
    });

    it("lists in key order, by prefix, after a key, with sizes", async () => {
      const put = [
        "list/b/1",
        "list/a",
        "list/b-1",
        "list/b.1",
        "list/b/0",
        "list/b0",
        "list/c/d/e",
      ];
      for (const key of put) await store.put(key, [bytes(1, 2, 3)]);
      const sorted = [...put].sort();
      assert.deepEqual(await keys("list/"), sorted);
      assert.deepEqual(
        await keys("list/b"),
        sorted.filter((key) => key.startsWith("list/b")),
      );
      assert.deepEqual(await keys("list/b/"), ["list/b/0", "list/b/1"]);
      assert.deepEqual(await keys("list/nothing"), []);
      for (const after of sorted) {
        assert.deepEqual(await keys("list/", after), sorted.slice(sorted.indexOf(after) + 1));
      }
      assert.deepEqual(await keys("list/", "list/b/"), sorted.slice(sorted.indexOf("list/b/0")));
      for await (const info of store.list("list/a")) {
        assert.equal(info.size, 3);
        assert.ok(Number.isSafeInteger(info.modifiedAtMs) && info.modifiedAtMs > 0);
        const { key, size, modifiedAtMs } = (await store.head("list/a")) ?? assert.fail("no head");
        assert.deepEqual({ key, size, modifiedAtMs }, info);
      }
    });

    it("lists and deletes more than fit into one answer of any service, each once", async () => {
      const name = (i: number) => `many/${String(i).padStart(5, "0")}`;
      const put = Array.from({ length: 1_150 }, (_, i) => name(i));
      for (let at = 0; at < put.length; at += 50) {
        await Promise.all(put.slice(at, at + 50).map((key) => store.put(key, [])));
      }
      assert.deepEqual(await keys("many/"), put);
      assert.deepEqual(await keys("many/", name(599)), put.slice(600));
      await store.delete(put.slice(0, 1_149));
      assert.deepEqual(await keys("many/"), [name(1_149)]);
    });

    it("can be left in the middle of a listing", async () => {
      for (const key of ["leave/1", "leave/2", "leave/3"]) await store.put(key, []);
      for await (const info of store.list("leave/")) {
        assert.equal(info.key, "leave/1");
        break;
      }
    });

    it("deletes what exists and does not mind what does not", async () => {
      await store.put("delete/a", [bytes(1)]);
      await store.put("delete/b", [bytes(1)]);
      await store.delete(["delete/a", "delete/none", "delete/a/b", "none/at/all"]);
      assert.deepEqual(await keys("delete/"), ["delete/b"]);
      await store.delete([]);
      await store.put("delete/a", [bytes(2)]);
      assert.deepEqual(await store.get("delete/a"), bytes(2));
    });

    it("refuses keys that could mean something else, in every operation", async () => {
      const refused = code("INVALID_ARGUMENT", "invalid");
      for (const key of BAD_KEYS) {
        await assert.rejects(store.put(key, [bytes(1)]), refused, key);
        await assert.rejects(store.get(key), refused, key);
        await assert.rejects(store.head(key), refused, key);
        await assert.rejects(store.delete([key]), refused, key);
      }
    });

    it("deletes nothing when one of the keys is refused", async () => {
      await store.put("refused/a", [bytes(1)]);
      await assert.rejects(store.delete(["refused/a", "../b"]), code("INVALID_ARGUMENT"));
      assert.deepEqual(await keys("refused/"), ["refused/a"]);
    });

    it("does nothing when its caller has given up before", async () => {
      const signal = AbortSignal.abort(new Error("changed my mind"));
      await assert.rejects(store.put("abort/a", [bytes(1)], signal), code("ABORTED"));
      assert.equal(await store.head("abort/a"), undefined);
      await assert.rejects(store.get("abort/a", undefined, signal), code("ABORTED"));
      await assert.rejects(store.head("abort/a", signal), code("ABORTED"));
      await assert.rejects(store.delete(["abort/a"], signal), code("ABORTED"));
    });

    it("refuses everything once it is closed, and closes twice", async () => {
      const other = await subject.create();
      await other.close();
      await other.close();
      await assert.rejects(other.put("closed/a", []), code("CLOSED", "closed"));
      await assert.rejects(other.get("closed/a"), code("CLOSED", "closed"));
      await assert.rejects(other.head("closed/a"), code("CLOSED", "closed"));
      await assert.rejects(other.delete(["closed/a"]), code("CLOSED", "closed"));
    });
  });
}

/** For `assert.rejects`: the code, and the kind where it is given. */
function code(expected: string, kind?: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(StreamHouseError.is(error), String(error));
    assert.equal(error.code, expected, error.message);
    if (kind !== undefined) assert.equal(error.kind, kind);
    return true;
  };
}
