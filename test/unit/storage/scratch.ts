/** Scratch folders of a test file, and what tests say about errors. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { type ErrorCode, type ErrorOutcome, StreamHouseError } from "../../../src/core/errors.ts";

/** Makes folders that are gone after the file's tests. Call it at the top of a `describe`. */
export function scratchFolders(): () => Promise<string> {
  const dirs: string[] = [];
  after(async () => {
    for (const dir of dirs) await rm(dir, { recursive: true, force: true });
  });
  return async () => {
    const dir = await mkdtemp(join(tmpdir(), "streamhouse-test-"));
    dirs.push(dir);
    return dir;
  };
}

/** For `assert.rejects` and `assert.throws`. `mentions`: parts of the message. */
export function failure(
  code: ErrorCode,
  outcome: ErrorOutcome = "none",
  ...mentions: readonly string[]
): (error: unknown) => boolean {
  return (error) => {
    assert.ok(StreamHouseError.is(error), String(error));
    assert.equal(error.code, code, error.message);
    assert.equal(error.outcome, outcome, error.message);
    for (const it of mentions) assert.ok(error.message.includes(it), `${it} in: ${error.message}`);
    return true;
  };
}
