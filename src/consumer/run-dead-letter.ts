/**
 * Records that were given up: what is written to the dead-letter topic, and the port to what writes it. The producer's wing lies beside
 * this one, so the house makes the sender. Called by `run.ts`.
 */
import type { BytesLike, ConsumerRecord, RecordHeader } from "../core/record.ts";
import { errorTypeOf, messageOf } from "../telemetry/spans.ts";

/** What goes to the dead-letter topic. */
export interface DeadLetter {
  readonly topic: string;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly (readonly [name: string, value: BytesLike | null])[];
}

/** Where a dead letter was written. */
export interface DeadLetterReceipt {
  readonly partition: number;
  readonly offset?: number | undefined;
}

export interface DeadLetterSender {
  /** Resolves when the record is durable. @throws StreamHouseError when it was given up */
  send(letter: DeadLetter): Promise<DeadLetterReceipt>;
  /** Nothing is pending any more: within `timeoutMs`. */
  close(timeoutMs: number): Promise<void>;
}

/** Makes a sender; called at most once by a consumer, when its first run with a dead-letter topic begins. */
export type DeadLetterSource = () => DeadLetterSender;

/** Names of the headers that a dead letter has beside those of its record. */
export const deadLetterHeaders = {
  /** The error's code, if it is a `StreamHouseError`, or its name. */
  error: "dead-letter-error",
  /** Its message, cut to 1,024 characters. */
  message: "dead-letter-message",
  /** Where the record was … */
  topic: "dead-letter-topic",
  partition: "dead-letter-partition",
  offset: "dead-letter-offset",
  /** … its own timestamp, ms since 1970 … */
  timestamp: "dead-letter-timestamp",
  /** … and the group that gave it up; absent without one. */
  group: "dead-letter-group",
  /** Calls of the handler. */
  attempts: "dead-letter-attempts",
} as const;

/** A message may hold a whole document; the header says enough to find the log line. */
const MESSAGE_CHARACTERS_MAX = 1_024;
const ERROR_CHARACTERS_MAX = 200;

const own: ReadonlySet<string> = new Set(Object.values(deadLetterHeaders));

/** What was given up, and why. */
export interface GivenUp {
  readonly record: ConsumerRecord;
  readonly error: unknown;
  readonly attempts: number;
  readonly group: string | undefined;
}

/**
 * The record as it was, with headers of ours after its own. Those of an earlier life as a dead letter are replaced, so that a record
 * which is sent round again does not grow for ever.
 */
export function deadLetterOf(
  topic: string,
  { record, error, attempts, group }: GivenUp,
): DeadLetter {
  const names = deadLetterHeaders;
  const origin: [string, BytesLike][] = [
    [names.error, cut(errorTypeOf(error), ERROR_CHARACTERS_MAX)],
    [names.message, describeError(error)],
    [names.topic, record.topic],
    [names.partition, String(record.partition)],
    [names.offset, String(record.offset)],
    [names.timestamp, String(record.timestamp)],
    [names.attempts, String(attempts)],
  ];
  if (group !== undefined) origin.push([names.group, group]);
  const kept: readonly RecordHeader[] = record.headers.filter(([name]) => !own.has(name));
  return { topic, key: record.key, value: record.value, headers: [...kept, ...origin] };
}

/** What was thrown, in at most 1,024 characters. It is the application's: a getter of it may throw, or answer no text. */
export function describeError(error: unknown): string {
  try {
    return cut(String(messageOf(error)), MESSAGE_CHARACTERS_MAX);
  } catch {
    return "";
  }
}

/** Not in the middle of a character of two units: half of one is no UTF-8. */
function cut(text: string, charactersMax: number): string {
  return text.length <= charactersMax ? text : text.slice(0, charactersMax).toWellFormed();
}
