/**
 * What a handler throws to put a record off: "not now, come back in so many milliseconds". It is no failure. Thrown by applications,
 * understood by `run.ts`.
 */
import { invalid } from "../core/errors.ts";

const BRAND = Symbol.for("@streamhouse/streamhouse/retry-later");

/** The longest delay of one `RetryLater`, ms: what waits longer belongs in a topic of its own. */
export const RETRY_LATER_MS_MAX = 3_600_000;

/**
 * Thrown by a handler of `consumer.run`: the record is handed out again after `delayMs`, and meanwhile its key waits (or its
 * partition, with `orderBy: "partition"`) while everything else goes on. It does not count as a failed attempt; after
 * `retry.laterMax` of them the record is a failure all the same. The wait is in memory: a record that waits is not committed, and
 * another member that takes its partition over is given it at once.
 */
export class RetryLater extends Error {
  override readonly name = "RetryLater";
  /** Milliseconds until the record is handed out again. */
  readonly delayMs: number;

  /**
   * @param delayMs 0 to 3,600,000
   * @param reason for the span and the dead-letter record
   * @throws StreamHouseError `INVALID_ARGUMENT` for another delay
   */
  constructor(delayMs: number, reason = "the handler put the record off") {
    super(reason);
    if (!(delayMs >= 0 && delayMs <= RETRY_LATER_MS_MAX)) {
      throw invalid(
        "INVALID_ARGUMENT",
        `RetryLater(${delayMs}): use 0 to ${RETRY_LATER_MS_MAX} milliseconds`,
        { field: "delayMs" },
      );
    }
    this.delayMs = delayMs;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** True for one of any copy of this package in the process. */
  static is(value: unknown): value is RetryLater {
    return typeof value === "object" && value !== null && BRAND in value;
  }
}
