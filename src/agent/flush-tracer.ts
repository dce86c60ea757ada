/**
 * The spans of a flush: `flush` from seal to commit, `store put` and `metadata commit` under it. A flush whose batches all
 * belong to one trace is part of it; otherwise it is linked to them. Called by the flusher.
 */
import type { Span, SpanContext } from "@opentelemetry/api";
import { Lineage } from "../telemetry/lineage.ts";
import {
  addFailureEvent,
  addSpanEvent,
  endSpan,
  startFlushSpan,
  startMetadataSpan,
  startStoreSpan,
} from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { FlushSpan } from "./flush.ts";
import type { CommitRetried, CommitVerdict } from "./flush-committer.ts";
import type { Hold, PendingBatch } from "./pending-batch.ts";

export class FlushTracer {
  readonly #telemetry: Telemetry;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
  }

  begin(batches: readonly PendingBatch[]): FlushSpan {
    const telemetry = this.#telemetry;
    if (!telemetry.traces) return untraced;
    const lineage = new Lineage();
    let bytes = 0;
    let records = 0;
    let again = 0;
    for (const batch of batches) {
      lineage.add(batch.spanContext);
      bytes += batch.bytes.length;
      records += batch.recordCount;
      if (batch.firstSealedAt >= 0) again++;
    }
    const init = { batches: batches.length, bytes, records, lineage };
    const span = startFlushSpan(telemetry, init);
    if (span === undefined) return untraced;
    // They were in a flush before, which was undone.
    if (again > 0) addSpanEvent(span, "retry", { batch_count: again });
    return new TracedFlush(telemetry, span, batches);
  }
}

/** Events of one span: a flush of thousands of batches must not make a span of thousands of events. */
const eventsMax = 16;

class TracedFlush implements FlushSpan {
  readonly #telemetry: Telemetry;
  readonly #span: Span;
  #batches: readonly PendingBatch[];
  #ended = false;

  constructor(telemetry: Telemetry, span: Span, batches: readonly PendingBatch[]) {
    this.#telemetry = telemetry;
    this.#span = span;
    this.#batches = batches;
  }

  get context(): SpanContext {
    return this.#span.spanContext();
  }

  put<T>(work: () => Promise<T>): Promise<T> {
    return timed(startStoreSpan(this.#telemetry, this.#span, "put"), work);
  }

  async commit(work: (retried: CommitRetried) => Promise<CommitVerdict>): Promise<CommitVerdict> {
    const span = startMetadataSpan(this.#telemetry, this.#span, "commit");
    let last: (() => void) | undefined;
    const verdict = await work((error, attempt) => {
      // Only what another attempt followed is a retry.
      last?.();
      addFailureEvent(span, "failed_attempt", error, { attempt });
      last = () => addSpanEvent(span, "retry", { "error.type": error.code, attempt });
    });
    if (verdict.status === "committed") last?.();
    else this.#tell(span, verdict);
    const failed = verdict.status === "committed" ? undefined : failureOf(verdict);
    endSpan(span, failed);
    return verdict;
  }

  lost(partitions: readonly Hold[]): void {
    for (const { topic, partition, epoch, phase } of partitions.slice(0, eventsMax)) {
      const event = phase === "deleted" ? "deleted" : "fenced";
      addSpanEvent(this.#span, event, { topic, partition, epoch });
    }
  }

  /** Why it was not committed, on the commit's span and on the flush's. */
  #tell(span: Span | undefined, verdict: NotCommitted): void {
    if (verdict.status === "swept") {
      for (const at of [span, this.#span]) addSpanEvent(at, "swept");
      return;
    }
    if (verdict.status !== "refused") {
      addFailureEvent(this.#span, "failed", verdict.error);
      return;
    }
    for (const { topicId, partition, reason } of verdict.partitions.slice(0, eventsMax)) {
      const held = this.#batches.find(
        (it) => it.partition.topicId === topicId && it.partition.partition === partition,
      )?.partition;
      const topic = held?.topic ?? topicId;
      const where = { topic, partition, epoch: held?.epoch ?? -1 };
      for (const at of [span, this.#span]) addSpanEvent(at, reason, where);
    }
  }

  end(outcome: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#batches = [];
    if (outcome === "committed") {
      endSpan(this.#span);
      return;
    }
    if (outcome === "undone") addSpanEvent(this.#span, "undone");
    this.#span.setAttribute("outcome", outcome);
    endSpan(this.#span, new FlushNotCommitted(outcome));
  }
}

type NotCommitted = Exclude<CommitVerdict, { readonly status: "committed" }>;

function failureOf(verdict: NotCommitted): Error {
  if (verdict.status === "failed" || verdict.status === "unknown") return verdict.error;
  return new FlushNotCommitted(verdict.status);
}

/** Its name is the span's `error.type`. */
class FlushNotCommitted extends Error {
  override readonly name = "FlushNotCommitted";

  constructor(outcome: string) {
    super(`the flush was not committed: ${outcome}`);
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
  commit: (work) => work(() => {}),
  lost() {},
  end() {},
};
