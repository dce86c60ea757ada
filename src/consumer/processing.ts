/**
 * The application's work on a record, or on several at once, inside a CONSUMER span that is linked to what created them, and measured.
 * Called by `consumer.process`.
 */
import { context as activeContext } from "@opentelemetry/api";
import type { Clock } from "../core/clock.ts";
import type { ConsumerRecord } from "../core/record.ts";
import {
  type ProcessSpan,
  startProcessBatchSpan,
  startProcessSpan,
} from "../telemetry/record-spans.ts";
import { endSpan } from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { ConsumerInstruments, OperationEnd } from "./instruments.ts";

/** What can be worked on: one record, what `poll` answered, or a batch of `batches()`. */
export type Processable =
  | ConsumerRecord
  | readonly ConsumerRecord[]
  | { readonly records: readonly ConsumerRecord[] };

export interface ProcessingComponents {
  readonly telemetry: Telemetry;
  readonly instruments: ConsumerInstruments;
  readonly clock: Clock;
  readonly group: string | undefined;
}

/** Runs `fn` for a record or for several; its result or its error is the answer, whatever becomes of the measuring. */
export async function process<W extends Processable, T>(
  parts: ProcessingComponents,
  work: W,
  fn: (work: W) => T | Promise<T>,
): Promise<T> {
  const { telemetry, clock } = parts;
  if (!telemetry.enabled) return fn(work);
  const began = clock.monotonic();
  const started = harmless(() => startSpan(parts, work));
  const ended = (error?: unknown) => {
    const seconds = (clock.monotonic() - began) / 1_000;
    endSpan(started?.span, error);
    harmless(() => measure(parts, work, { seconds, span: started?.span.spanContext(), error }));
  };
  let result: T;
  try {
    result = await (started === undefined
      ? fn(work)
      : activeContext.with(started.context, () => fn(work)));
  } catch (error) {
    ended(error ?? new Error("the handler threw nothing"));
    throw error;
  }
  ended();
  return result;
}

/** What is worked on, and what is thrown, is the application's: reading it may throw. */
function harmless<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

function measure(
  { instruments }: ProcessingComponents,
  work: Processable,
  end: Omit<OperationEnd, "topic">,
): void {
  instruments.processed({ ...end, topic: topicOf(recordsOf(work)) });
}

function startSpan(
  { telemetry, group }: ProcessingComponents,
  work: Processable,
): ProcessSpan | undefined {
  const records = recordsOf(work);
  const [first] = records;
  const isSingle = first !== undefined && work === first;
  return isSingle
    ? startProcessSpan(telemetry, first, group)
    : startProcessBatchSpan(telemetry, records, group);
}

function recordsOf(work: Processable): readonly ConsumerRecord[] {
  if ("records" in work) return work.records;
  return isList(work) ? work : [work];
}

function isList(
  work: ConsumerRecord | readonly ConsumerRecord[],
): work is readonly ConsumerRecord[] {
  return Array.isArray(work);
}

function topicOf(records: readonly ConsumerRecord[]): string | undefined {
  const topic = records[0]?.topic;
  return records.every((it) => it.topic === topic) ? topic : undefined;
}
