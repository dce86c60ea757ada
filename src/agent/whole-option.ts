/** Checks a setting that is a whole number. Called by the rooms that resolve the agent's settings. */
import { invalid } from "../core/errors.ts";

/** The value, or the fallback. @throws StreamHouseError `INVALID_ARGUMENT` naming the setting */
export function whole(
  name: string,
  value: number | undefined,
  fallback: number,
  min: number,
  max: number,
): number {
  const v = value ?? fallback;
  if (Number.isSafeInteger(v) && v >= min && v <= max) return v;
  throw invalid(
    "INVALID_ARGUMENT",
    `${name} is ${v}: expected a whole number from ${min} to ${max}`,
    { field: name },
  );
}
