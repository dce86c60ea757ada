/**
 * Where the records of one batch or one flush come from, so that its span gets the right parent and links. Called by the
 * producer for batches and by the agent for flushes. Pure.
 */
import { type Link, type SpanContext, TraceFlags } from "@opentelemetry/api";

/** Links of one span, the SDK's own default; what is beyond is counted in an attribute. */
export const linksMax = 128;

export class Lineage {
  readonly #contexts: SpanContext[] = [];
  #first: SpanContext | undefined;
  #mixed = false;
  #members = 0;
  #unlinked = 0;

  /** One more member: its span context, or undefined if it has none. */
  add(context: SpanContext | undefined): void {
    this.#members += 1;
    if (this.#members === 1) this.#first = context;
    else if (context?.traceId !== this.#first?.traceId) this.#mixed = true;
    // A link to a span that nobody recorded leads nowhere.
    if (context === undefined || (context.traceFlags & TraceFlags.SAMPLED) === 0) return;
    if (this.#contexts.at(-1)?.spanId === context.spanId) return;
    if (this.#contexts.length < linksMax) this.#contexts.push(context);
    else this.#unlinked += 1;
  }

  /** The first member's context, if all members belong to its trace: only then does the batch belong to it as a whole. */
  get parent(): SpanContext | undefined {
    return this.#mixed ? undefined : this.#first;
  }

  /** Every sampled member's context that is not the parent already. */
  get links(): Link[] {
    const parent = this.parent?.spanId;
    return this.#contexts
      .filter((context) => context.spanId !== parent)
      .map((context) => ({ context }));
  }

  /** Contexts beyond the limit of links. */
  get unlinked(): number {
    return this.#unlinked;
  }
}
