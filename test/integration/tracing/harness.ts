/**
 * A house in memory whose spans are kept in a book: each that was started, each that was ended, and those that were ended twice. Shared
 * by the tests of tracing.
 */
import assert from "node:assert/strict";
import { context, type DiagLogger, diag, ROOT_CONTEXT, type Span, trace } from "@opentelemetry/api";
import type { ReadableSpan, SpanProcessor } from "@opentelemetry/sdk-trace-base";
import type { EmbeddedHouse } from "../../../src/serve/embed.ts";
import { bootstrap, type TelemetrySdk } from "../../../src/telemetry/bootstrap.ts";
import type { TelemetryOptions } from "../../../src/telemetry/telemetry.ts";
import { createTestHouse } from "../../../src/testing/test-house.ts";
import { eventually } from "../child.ts";

/** Every span of the process, by its life. */
export class SpanBook implements SpanProcessor {
  readonly ended: ReadableSpan[] = [];
  readonly open: Map<string, string> = new Map();

  onStart(span: ReadableSpan): void {
    this.open.set(span.spanContext().spanId, span.name);
  }

  onEnd(span: ReadableSpan): void {
    this.open.delete(span.spanContext().spanId);
    this.ended.push(span);
  }

  async forceFlush(): Promise<void> {}
  async shutdown(): Promise<void> {}

  clear(): void {
    this.ended.length = 0;
  }

  named(name: string): ReadableSpan[] {
    return this.ended.filter((it) => it.name === name);
  }

  /** The one span of this name. */
  one(name: string): ReadableSpan {
    const found = this.named(name);
    const names = [...new Set(this.ended.map((it) => it.name))].join(", ");
    assert.equal(found.length, 1, `${found.length} spans ${name}; there are: ${names}`);
    return found[0] as ReadableSpan;
  }

  /** Waits for a span of this name. */
  async until(name: string, count = 1): Promise<ReadableSpan[]> {
    return eventually(`${count} spans ${name}`, () => {
      const found = this.named(name);
      return found.length >= count && found;
    });
  }
}

/** What the SDK complains of: a span that is ended twice, for instance. */
class Complaints implements DiagLogger {
  readonly said: string[] = [];
  readonly error = (message: string): void => void this.said.push(message);
  readonly warn = (message: string): void => void this.said.push(message);
  readonly info = (): void => {};
  readonly debug = (): void => {};
  readonly verbose = (): void => {};
}

/** An SDK whose spans are kept in a book. */
export interface Recorded {
  readonly book: SpanBook;
  readonly sdk: TelemetrySdk;
  readonly complaints: readonly string[];
  /** Runs `work` under a span of the application's own, and ends it. */
  under<T>(name: string, work: (span: Span) => Promise<T>): Promise<T>;
  /** The same under a span that is not sampled. */
  underUnsampled<T>(work: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

const UNSAMPLED = { traceId: "c".repeat(32), spanId: "d".repeat(16), traceFlags: 0 };

/** Registers the SDK globally; `close()` takes it out again. */
export function record(env: Readonly<Record<string, string>> = {}): Recorded {
  const book = new SpanBook();
  const complaints = new Complaints();
  diag.setLogger(complaints, { suppressOverrideMessage: true });
  const sdk = bootstrap({ env, spanProcessors: [book] });
  const tracer = sdk.tracerProvider.getTracer("application");
  return {
    ...{ book, sdk, complaints: complaints.said },
    under: (name, work) => {
      const span = tracer.startSpan(name, {}, ROOT_CONTEXT);
      const active = trace.setSpan(ROOT_CONTEXT, span);
      return context.with(active, () => work(span)).finally(() => span.end());
    },
    underUnsampled: (work) =>
      context.with(trace.setSpanContext(ROOT_CONTEXT, UNSAMPLED), () => work()),
    async close() {
      await sdk.shutdown();
      diag.disable();
    },
  };
}

export interface Traced extends Recorded {
  readonly house: EmbeddedHouse;
}

export async function openTraced(
  topics: readonly string[] | Readonly<Record<string, number>>,
  telemetry: TelemetryOptions = {},
  env: Readonly<Record<string, string>> = {},
): Promise<Traced> {
  const recorded = record(env);
  const house = await createTestHouse({ topics, telemetry: { ...recorded.sdk, ...telemetry } });
  recorded.book.clear();
  return {
    ...recorded,
    house,
    async close() {
      await house.close();
      await recorded.close();
    },
  };
}

/** Parent's span id. */
export function parentOf(span: ReadableSpan): string | undefined {
  return span.parentSpanContext?.spanId;
}

export function idOf(span: ReadableSpan): string {
  return span.spanContext().spanId;
}

export function traceOf(span: ReadableSpan): string {
  return span.spanContext().traceId;
}

export function linkedIds(span: ReadableSpan): string[] {
  return span.links.map((it) => it.context.spanId);
}

export function eventsOf(span: ReadableSpan): [string, Readonly<Record<string, unknown>>][] {
  return span.events.map((it) => [it.name, it.attributes ?? {}]);
}
