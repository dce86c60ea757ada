import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { invalid } from "../../../src/core/errors.ts";
import { sqliteError } from "../../../src/metadata/sqlite-errors.ts";

/** As the runtimes throw it: with the extended code, or (Deno's `exec`) with the text alone. */
const both = (errcode: number, text: string) => [
  Object.assign(new Error(text), { errcode }),
  new Error(text),
];

describe("SQLite errors", () => {
  const cases = [
    [5, "database is locked", "METADATA_UNAVAILABLE", "none", "none"],
    [261, "database is locked", "METADATA_UNAVAILABLE", "none", "none"],
    [6, "database table is locked", "METADATA_UNAVAILABLE", "none", "none"],
    [13, "database or disk is full", "STORE_FULL", "none", "none"],
    [10, "disk I/O error", "METADATA_UNAVAILABLE", "none", "unknown"],
    [1034, "disk I/O error", "METADATA_UNAVAILABLE", "none", "unknown"],
    [8, "attempt to write a readonly database", "DATA_FOLDER_UNUSABLE", "none", "unknown"],
    [14, "unable to open database file", "DATA_FOLDER_UNUSABLE", "none", "unknown"],
    [11, "database disk image is malformed", "INTERNAL", "none", "unknown"],
    [26, "file is not a database", "INTERNAL", "none", "unknown"],
    [1, "no such table: topics", "INTERNAL", "none", "unknown"],
  ] as const;
  for (const [errcode, text, code, before, during] of cases) {
    it(`of code ${errcode} become ${code}: ${before} before the commit, ${during} in it`, () => {
      for (const thrown of both(errcode, text)) {
        const early = sqliteError(thrown, "writing", "m.db");
        assert.deepEqual([early.code, early.outcome], [code, before]);
        const late = sqliteError(thrown, "writing", "m.db", true);
        assert.deepEqual([late.code, late.outcome], [code, during]);
        assert.equal(late.cause, thrown);
        for (const it of ["writing", "m.db", text]) assert.ok(late.message.includes(it));
      }
    });
  }

  it("that are ours already stay what they are", () => {
    const mine = invalid("INVALID_ARGUMENT", "mine");
    assert.equal(sqliteError(mine, "writing", "m.db", true), mine);
  });
});
