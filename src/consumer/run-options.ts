/** Settings of `consumer.run`: checked, completed and frozen once for each run. Plain data; called by `runner.ts`. */
import { invalid, StreamHouseError } from "../core/errors.ts";
import type { ConsumerRecord } from "../core/record.ts";
import { checkTopicName } from "../core/topic.ts";

/**
 * What is never worked on at the same time, nor out of order, across retries too. `key`: records of one partition with the same key
 * (records without a key have no order among each other). `partition`: all records of a partition. `none`: nothing.
 */
export type RunOrder = "key" | "partition" | "none";

/** What a handler is told beside the record. */
export interface RunContext {
  /**
   * Aborts when the attempt should end: its `handlerTimeoutMs` is over, the partition was lost to another member, or `close()` has
   * waited long enough. The attempt's slot and key are free only when the handler has returned: hand the signal on to what it awaits.
   */
  readonly signal: AbortSignal;
  /** How often the handler was called with this record by this run, this time included: 1 at first. */
  readonly attempt: number;
}

/**
 * Works on one record. When it returns (or its promise resolves) the record is finished; when it throws, it is tried again. A thrown
 * `RetryLater` puts the record off.
 */
export type RunHandler = (record: ConsumerRecord, context: RunContext) => void | Promise<void>;

/** When a record whose handler threw is tried again. The pause doubles each time, longer or shorter by up to a fifth. */
export interface RetryOptions {
  /** Failed attempts before the record is given up, the first one included; 1: it is never tried again. Default 5. */
  readonly attempts?: number | undefined;
  /** Pause after the first failure, ms. Default 200. */
  readonly baseMs?: number | undefined;
  /** Longest pause, ms. Default 30,000. */
  readonly maxMs?: number | undefined;
  /** `RetryLater`s of one record before it is given up. Default 1,000. */
  readonly laterMax?: number | undefined;
  /**
   * Whether this failure is worth another attempt. Default: every one is but a `StreamHouseError` of kind `invalid` or `corrupt`
   * (a value that does not match its schema), since the same would be refused again.
   */
  readonly when?: ((error: unknown, record: ConsumerRecord) => boolean) | undefined;
}

/** How `consumer.run` works. Every setting has a default. */
export interface RunOptions {
  /** Handlers at the same time. Default 10. */
  readonly concurrency?: number | undefined;
  /** What keeps its order. Default `key`. */
  readonly orderBy?: RunOrder | undefined;
  readonly retry?: RetryOptions | undefined;
  /**
   * Where records go that were given up: with their key, value and headers, and with headers that say what failed and where they come
   * from. It must exist, and is none of the consumer's own topics. A record counts as finished when it was durably written there.
   * Without one, `run()` rejects with the handler's error, and the record stays uncommitted.
   */
  readonly deadLetterTopic?: string | undefined;
  /** An attempt's signal aborts after this long, and what it throws then is a failure. Default: never. */
  readonly handlerTimeoutMs?: number | undefined;
  /**
   * Records taken ahead at most: waiting for their key or for a slot, and being worked on. Reading stops above it; one partition never
   * has so many that the others get nothing. Default 10,000; at least 2, and at least `concurrency`.
   */
  readonly bufferRecords?: number | undefined;
  /** The same in bytes of what they keep in memory. The last batch taken may go beyond it. Default 32 MiB. */
  readonly bufferBytes?: number | undefined;
  /**
   * How far a partition may be ahead of its first unfinished record: so many records at most are handed out again after a crash.
   * Default 100,000.
   */
  readonly aheadRecords?: number | undefined;
  /** Ends the run: nothing new begins, and `run()` resolves when what is in flight has ended and what is finished is committed. */
  readonly signal?: AbortSignal | undefined;
}

/** All of it, with the defaults in place. */
export interface ResolvedRunOptions {
  readonly concurrency: number;
  readonly orderBy: RunOrder;
  readonly attempts: number;
  readonly baseMs: number;
  readonly maxMs: number;
  readonly laterMax: number;
  readonly when: (error: unknown, record: ConsumerRecord) => boolean;
  readonly deadLetterTopic: string | undefined;
  readonly handlerTimeoutMs: number | undefined;
  readonly bufferRecords: number;
  readonly bufferBytes: number;
  readonly aheadRecords: number;
  readonly signal: AbortSignal | undefined;
}

const CONCURRENCY_MAX = 10_000;
const BUFFER_RECORDS_MAX = 1_000_000;
const BUFFER_BYTES_MAX = 1_073_741_824;
const AHEAD_RECORDS_MAX = 1_000_000_000;
const DAY_MS = 86_400_000;

/**
 * Checks and completes the options. `topics`: what the consumer reads.
 * @throws StreamHouseError `INVALID_ARGUMENT` or `INVALID_TOPIC_NAME`, with `field` naming the option
 */
export function resolveRunOptions(
  options: RunOptions,
  topics: readonly string[],
): ResolvedRunOptions {
  const { retry = {}, deadLetterTopic, handlerTimeoutMs } = options;
  const concurrency = whole("concurrency", options.concurrency ?? 10, 1, CONCURRENCY_MAX);
  const records = options.bufferRecords ?? Math.max(10_000, concurrency);
  const baseMs = whole("retry.baseMs", retry.baseMs ?? 200, 0, DAY_MS);
  checkDeadLetters(deadLetterTopic, topics);
  return Object.freeze({
    concurrency,
    orderBy: checkOrder(options.orderBy ?? "key"),
    attempts: whole("retry.attempts", retry.attempts ?? 5, 1, 1_000_000),
    baseMs,
    maxMs: whole("retry.maxMs", retry.maxMs ?? Math.max(30_000, baseMs), baseMs, DAY_MS),
    laterMax: whole("retry.laterMax", retry.laterMax ?? 1_000, 0, 1_000_000),
    when: retry.when ?? mayPass,
    deadLetterTopic,
    handlerTimeoutMs:
      handlerTimeoutMs === undefined
        ? undefined
        : whole("handlerTimeoutMs", handlerTimeoutMs, 1, DAY_MS),
    bufferRecords: whole("bufferRecords", records, Math.max(2, concurrency), BUFFER_RECORDS_MAX),
    bufferBytes: whole("bufferBytes", options.bufferBytes ?? 33_554_432, 1, BUFFER_BYTES_MAX),
    aheadRecords: whole("aheadRecords", options.aheadRecords ?? 100_000, 1, AHEAD_RECORDS_MAX),
    signal: options.signal,
  });
}

/** As `retry.when` says; it is the application's: what it throws means no. */
export function isWorthRetrying(
  { when }: Pick<ResolvedRunOptions, "when">,
  error: unknown,
  record: ConsumerRecord,
): boolean {
  try {
    return when(error, record);
  } catch {
    return false;
  }
}

function mayPass(error: unknown): boolean {
  return !(StreamHouseError.is(error) && (error.kind === "invalid" || error.kind === "corrupt"));
}

function checkOrder(value: RunOrder): RunOrder {
  if (value === "key" || value === "partition" || value === "none") return value;
  throw invalid(
    "INVALID_ARGUMENT",
    `run option orderBy is ${JSON.stringify(value)}: use key, partition or none`,
    { field: "orderBy" },
  );
}

function checkDeadLetters(name: string | undefined, topics: readonly string[]): void {
  if (name === undefined) return;
  checkTopicName(name);
  if (!topics.includes(name)) return;
  throw invalid(
    "INVALID_ARGUMENT",
    `run option deadLetterTopic is ${name}, which this consumer reads itself: a record given up would ` +
      "come back for ever; use another topic",
    { field: "deadLetterTopic" },
  );
}

function whole(field: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalid(
    "INVALID_ARGUMENT",
    `run option ${field} is ${value}: use an integer from ${min} to ${max}`,
    { field },
  );
}
