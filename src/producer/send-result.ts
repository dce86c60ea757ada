/** What a producer answers: for one record, and for many at once. Made by the rooms that complete sends. */
import { StreamHouseError } from "../core/errors.ts";

/** Where a record went. */
export interface SendResult {
  readonly topic: string;
  readonly partition: number;
  /** Present exactly when acks are durable. */
  readonly offset?: number;
  /** The record's timestamp, ms since 1970: the one that was given, or the time of `send()`. */
  readonly timestamp: number;
}

/** Records of a `sendBatch` that lie one behind the other in a partition. */
export interface SentRange {
  readonly partition: number;
  /** Offset of the first one. Present exactly when acks are durable. */
  readonly baseOffset?: number;
  readonly count: number;
}

/** Where the records of a `sendBatch` went. */
export interface BatchSendResult {
  readonly topic: string;
  /** Records sent. */
  readonly count: number;
  /** Within a partition in the order of the records given. */
  readonly ranges: readonly SentRange[];
}

/** Records of a `sendBatch` that failed together. */
export interface FailedRecords {
  /** -1 if they failed before they had a partition. */
  readonly partition: number;
  /** Their places in the records given, ascending. */
  readonly indexes: readonly number[];
  /** Its `outcome` says whether they may have been written all the same. */
  readonly error: StreamHouseError;
}

/**
 * Some records of a `sendBatch` failed. Code, kind and retriable are those of the first failure; `outcome` is
 * `unknown` if it is for any of them. `sent` tells what did arrive, `failed` what did not: each record is in exactly one of the two.
 */
export class BatchSendError extends StreamHouseError {
  readonly sent: BatchSendResult;
  readonly failed: readonly FailedRecords[];

  constructor(sent: BatchSendResult, failed: readonly FailedRecords[]) {
    const first = failed[0]?.error;
    const failedCount = failed.reduce((sum, f) => sum + f.indexes.length, 0);
    const total = sent.count + failedCount;
    super({
      code: first?.code ?? "INTERNAL",
      kind: first?.kind ?? "internal",
      message:
        `${failedCount} of ${total} records for topic ${sent.topic} were not sent (${sent.count} were): ` +
        `${first?.message ?? "no reason known"}. error.failed lists their indexes`,
      retriable: first?.retriable,
      outcome: failed.some((f) => f.error.outcome === "unknown") ? "unknown" : "none",
      cause: first,
    });
    this.sent = sent;
    this.failed = failed;
  }
}
