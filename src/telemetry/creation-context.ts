/**
 * Where consumed records come from: the contexts in which they were created, as their headers carry them, for the links and the parent
 * of spans that take several records. https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/#consumer-spans
 * Called by `record-spans.ts`, and only where a span is made.
 */
import { type Link, type SpanContext, TraceFlags, trace } from "@opentelemetry/api";
import type { RecordHeader } from "../core/record.ts";
import { linksMax } from "./lineage.ts";
import { contextOfRecord } from "./propagation.ts";

/** What is asked of a record. */
export interface Created {
  readonly headers: readonly RecordHeader[];
}

export class Creations {
  readonly links: Link[] = [];
  /** Records whose context found no room among the links. */
  unlinked = 0;
  /** The context that all records share; undefined as soon as one has another or none. */
  shared: SpanContext | undefined = undefined;
  readonly #linked = new Set<string>();

  constructor(records: Iterable<Created>) {
    let first = true;
    for (const record of records) {
      const context = creationOf(record);
      if (first) this.shared = context;
      else if (!isSame(this.shared, context)) this.shared = undefined;
      first = false;
      this.#link(context);
    }
  }

  /** A link to a span that nobody recorded leads nowhere, and would take the place of one that leads somewhere. */
  #link(context: SpanContext | undefined): void {
    if (context === undefined || (context.traceFlags & TraceFlags.SAMPLED) === 0) return;
    const key = context.traceId + context.spanId;
    if (this.#linked.has(key)) return;
    if (this.links.length >= linksMax) {
      this.unlinked++;
      return;
    }
    this.#linked.add(key);
    this.links.push({ context });
  }
}

/** The context in which one record was created. */
export function creationOf(record: Created): SpanContext | undefined {
  const context = contextOfRecord(record.headers);
  return context && trace.getSpanContext(context);
}

function isSame(a: SpanContext | undefined, b: SpanContext | undefined): boolean {
  return a?.spanId === b?.spanId && a?.traceId === b?.traceId;
}
