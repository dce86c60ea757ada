/**
 * The rule for object keys, the same for every store, so that what works in memory works on a folder and in a bucket. It is
 * also what keeps every key inside the folder. Called by every store before it does anything with a key.
 */
import { invalid } from "../core/errors.ts";

/** S3's limit is 1,024 bytes; a prefix of the bucket needs room too. */
const KEY_CHARACTERS_MAX = 900;

/** A name cannot begin with a dot: that excludes `.` and `..`, and keeps unfinished files apart from objects. */
const KEY = /^[A-Za-z0-9_][A-Za-z0-9._=-]{0,200}(\/[A-Za-z0-9_][A-Za-z0-9._=-]{0,200})*$/;

/** Whether a store would take it. */
export function isKey(key: string): boolean {
  return key.length <= KEY_CHARACTERS_MAX && KEY.test(key);
}

/** @throws StreamHouseError `INVALID_ARGUMENT` (field `key`) */
export function checkKey(key: string): void {
  if (isKey(key)) return;
  throw invalid(
    "INVALID_ARGUMENT",
    `object key ${JSON.stringify(key.slice(0, 80))} is not valid: use names of a-z A-Z 0-9 . _ = - that do not ` +
      `begin with a dot, separated by /, at most ${KEY_CHARACTERS_MAX} characters in all`,
    { field: "key" },
  );
}
