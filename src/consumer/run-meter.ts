/**
 * What a run looks like from outside: one CONSUMER `process` span for each record, from its first attempt to its end, with its retries,
 * delays and dead letter as events; counters for what became of records; how much is in flight, and since when. Its audit compares the
 * outcomes with what was begun. Decides nothing; called by `run.ts`.
 */
import { context as activeContext } from "@opentelemetry/api";
import type { Clock } from "../core/clock.ts";
import { Audit, apart } from "../telemetry/audit.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { CounterCell, HistogramCell, UpDownCell } from "../telemetry/cells.ts";
import { startProcessSpan } from "../telemetry/record-spans.ts";
import * as semconv from "../telemetry/semconv.ts";
import { addSpanEvent, endSpan } from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { ConsumerInstruments } from "./instruments.ts";
import type { DeadLetterReceipt } from "./run-dead-letter.ts";
import type { RunSchedule } from "./run-schedule.ts";
import type { RunTask } from "./run-task.ts";

/**
 * How a record ended: finished by its handler · in the dead-letter topic · neither, because the run ended or its partition went. The last
 * ones are handed out again, here or elsewhere.
 */
export type RunOutcome = "done" | "dead_lettered" | "uncommitted";
/** How one call of a handler ended. */
export type AttemptOutcome = "ok" | "put_off" | "error";

export interface RunMeterComponents {
  readonly telemetry: Telemetry;
  readonly instruments: Pick<ConsumerInstruments, "processed" | "errorType">;
  readonly clock: Clock;
  readonly group: string | undefined;
}

export class RunMeter {
  readonly #parts: RunMeterComponents;
  readonly #labels: { readonly group_id: string };
  readonly #inFlight: UpDownCell;
  readonly #blocked: UpDownCell;
  readonly #waiting: UpDownCell;
  readonly #handler = new Map<string, HistogramCell>();
  readonly #counters = new Map<string, CounterCell>();
  readonly #audit: Audit;
  /** Records whose handler was called, by topic. */
  readonly #begun = new Map<string, number>();
  #schedule: RunSchedule | undefined;

  constructor(parts: RunMeterComponents) {
    this.#parts = parts;
    this.#labels = { group_id: parts.group ?? "" };
    const { metrics } = parts.telemetry;
    this.#inFlight = metrics.upDown(catalogue.runInFlight, this.#labels);
    this.#blocked = metrics.upDown(catalogue.runBlocked, this.#labels);
    this.#waiting = metrics.upDown(catalogue.runWaiting, this.#labels);
    this.#audit = new Audit(metrics, (exported) => [
      {
        name: "run_records",
        discrepancy: () =>
          apart(exported.by(catalogue.runRecords, "topic", "value"), this.#expected()),
      },
    ]);
  }

  /** A run begins: its schedule is looked at when somebody collects. */
  watch(schedule: RunSchedule): void {
    this.#schedule = schedule;
  }

  /** The application is given the record, for the first time in this run. */
  begun(task: RunTask): void {
    const { record, parcel } = task;
    parcel.delivery.given(record);
    const { telemetry, group } = this.#parts;
    if (!telemetry.enabled) return;
    this.#begun.set(record.topic, (this.#begun.get(record.topic) ?? 0) + 1);
    if (telemetry.traces) task.span = startProcessSpan(telemetry, record, group);
  }

  /** Runs one call with the record's span active. */
  within<T>(task: RunTask, call: () => T): T {
    return task.span === undefined ? call() : activeContext.with(task.span.context, call);
  }

  attempted(task: RunTask, outcome: AttemptOutcome, error?: unknown): void {
    const { telemetry, clock, instruments } = this.#parts;
    const { attempt, record, span } = task;
    if (!telemetry.enabled || attempt === undefined) return;
    const seconds = (clock.monotonic() - attempt.beganAt) / 1_000;
    const { topic } = record;
    const context = span?.span.spanContext();
    this.#handlerCell(topic, outcome).recordIn(seconds, context);
    const failure =
      outcome === "error" ? (error ?? new Error("the handler threw nothing")) : undefined;
    instruments.processed({ seconds, topic, span: context, error: failure });
  }

  retried(task: RunTask, error: unknown, delayMs: number): void {
    const type = this.#parts.instruments.errorType(error);
    this.#count(catalogue.runRetries, task, { "error.type": type });
    addSpanEvent(task.span?.span, "retry", {
      [semconv.ERROR_TYPE]: type,
      attempt: task.calls,
      delay_ms: delayMs,
    });
  }

  putOff(task: RunTask, delayMs: number, reason: string): void {
    this.#count(catalogue.runPutOff, task);
    addSpanEvent(task.span?.span, "put_off", { attempt: task.calls, delay_ms: delayMs, reason });
  }

  deadLettered(task: RunTask, topic: string, { partition, offset }: DeadLetterReceipt): void {
    addSpanEvent(task.span?.span, "dead_letter", {
      topic,
      partition,
      ...(offset !== undefined && { offset }),
      attempt: task.calls,
    });
  }

  deadLetterFailed(task: RunTask, topic: string, error: unknown): void {
    const type = this.#parts.instruments.errorType(error);
    this.#count(catalogue.runDeadLetterErrors, task, { "error.type": type });
    addSpanEvent(task.span?.span, "dead_letter_failed", { topic, [semconv.ERROR_TYPE]: type });
  }

  /** Of a record that was begun. `error`: why it did not end well. */
  ended(task: RunTask, outcome: RunOutcome, error?: unknown): void {
    this.#count(catalogue.runRecords, task, { outcome });
    const { span } = task;
    if (span === undefined) return;
    if (outcome === "uncommitted") addSpanEvent(span.span, "uncommitted", { attempt: task.calls });
    endSpan(span.span, error);
    task.span = undefined;
  }

  /** Before each collection. */
  collect(): void {
    const schedule = this.#schedule;
    this.#inFlight.add((schedule?.running ?? 0) - this.#inFlight.value);
    this.#blocked.add((schedule?.blocked ?? 0) - this.#blocked.value);
    this.#waiting.add((schedule?.waiting ?? 0) - this.#waiting.value);
    const { telemetry, clock } = this.#parts;
    if (schedule === undefined) return;
    let oldest: number | undefined;
    for (const { startedAt } of schedule.begun()) {
      if (startedAt !== undefined && startedAt < (oldest ?? Number.POSITIVE_INFINITY)) {
        oldest = startedAt;
      }
    }
    const seconds = oldest === undefined ? 0 : (clock.monotonic() - oldest) / 1_000;
    telemetry.metrics.gauge(catalogue.runOldest, this.#labels).set(seconds);
    this.#audit.check();
  }

  /** Outcomes that must have been counted: of what was begun and is over. */
  #expected(): Map<string, number> {
    const expected = new Map(this.#begun);
    for (const { record, startedAt } of this.#schedule?.begun() ?? []) {
      if (startedAt === undefined) continue;
      expected.set(record.topic, (expected.get(record.topic) ?? 0) - 1);
    }
    return expected;
  }

  #count(
    descriptor: (typeof catalogue)["runRecords"],
    { record: { topic } }: RunTask,
    more: Readonly<Record<string, string>> = {},
  ): void {
    const { telemetry } = this.#parts;
    if (!telemetry.enabled) return;
    const key = `${descriptor.name} ${topic} ${Object.values(more)[0] ?? ""}`;
    let cell = this.#counters.get(key);
    if (cell === undefined) {
      cell = telemetry.metrics.counter(descriptor, { topic, ...this.#labels, ...more });
      this.#counters.set(key, cell);
    }
    cell.add(1);
  }

  #handlerCell(topic: string, outcome: AttemptOutcome): HistogramCell {
    const key = `${outcome} ${topic}`;
    let cell = this.#handler.get(key);
    if (cell === undefined) {
      const labels = { topic, ...this.#labels, outcome };
      cell = this.#parts.telemetry.metrics.histogram(catalogue.runHandlerDuration, labels);
      this.#handler.set(key, cell);
    }
    return cell;
  }
}
