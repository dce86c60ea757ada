/**
 * The spans of a flush: `flush` from seal to commit, `store put` and `metadata commit` under it. A flush whose batches all
 * belong to one trace is part of it; otherwise it is linked to them. Called by the flusher.
 */
import type { Span, SpanContext } from "@opentelemetry/api";
import { Lineage } from "../telemetry/lineage.ts";
import {
  addSpanEvent,
  endSpan,
  startFlushSpan,
  startMetadataSpan,
  startStoreSpan,
} from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { FlushSpan } from "./flush.ts";
import type { PendingBatch } from "./pending-batch.ts";

export class FlushTracer {
  readonly #telemetry: Telemetry;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
  }

  begin(batches: readonly PendingBatch[]): FlushSpan {
    const telemetry = this.#telemetry;
    if (!telemetry.enabled) return untraced;
    const lineage = new Lineage();
    let bytes = 0;
    for (const batch of batches) {
      lineage.add(batch.spanContext);
      bytes += batch.bytes.length;
    }
    const span = startFlushSpan(telemetry, { batches: batches.length, bytes, lineage });
    return span === undefined ? untraced : new TracedFlush(telemetry, span);
  }
}

class TracedFlush implements FlushSpan {
  readonly #telemetry: Telemetry;
  readonly #span: Span;
  #ended = false;

  constructor(telemetry: Telemetry, span: Span) {
    this.#telemetry = telemetry;
    this.#span = span;
  }

  get context(): SpanContext {
    return this.#span.spanContext();
  }

  put<T>(work: () => Promise<T>): Promise<T> {
    return timed(startStoreSpan(this.#telemetry, this.#span, "put"), work);
  }

  commit<T>(work: () => Promise<T>): Promise<T> {
    return timed(startMetadataSpan(this.#telemetry, this.#span, "commit"), work);
  }

  end(outcome: string): void {
    if (this.#ended) return;
    this.#ended = true;
    if (outcome === "committed") {
      endSpan(this.#span);
      return;
    }
    addSpanEvent(this.#span, outcome === "refused" ? "fenced" : outcome);
    endSpan(this.#span, new Error(`the flush was not committed: ${outcome}`));
  }
}

async function timed<T>(span: Span | undefined, work: () => Promise<T>): Promise<T> {
  if (span === undefined) return work();
  try {
    const value = await work();
    endSpan(span);
    return value;
  } catch (error) {
    endSpan(span, error);
    throw error;
  }
}

const untraced: FlushSpan = {
  put: (work) => work(),
  commit: (work) => work(),
  end() {},
};
