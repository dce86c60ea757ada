/**
 * Where the records of one batch or one flush come from, so that its span gets the right parent and links. Called by the
 * producer for batches and by the agent for flushes. Pure.
 */
import { type Link, type SpanContext, TraceFlags } from "@opentelemetry/api";

/** Links of one span, the SDK's own default; what is beyond is counted in an attribute. */
export const linksMax = 128;

export class Lineage {
  readonly #contexts: SpanContext[] = [];
  /** Spans linked before the last one: concurrent requests may take turns. */
  #linked: Set<string> | undefined;
  #first: SpanContext | undefined;
  #mixed = false;
  #members = 0;
  #unlinked = 0;

  /** One more member: its span context, or undefined if it has none. */
  add(context: SpanContext | undefined): void {
    this.#count(context);
    if (context !== undefined) this.#link(context);
  }

  /** All members of another lineage, or one that has none. */
  join(other: Lineage | undefined): void {
    if (other === undefined) {
      this.#count(undefined);
      return;
    }
    this.#count(other.#first);
    if (other.#mixed) this.#mixed = true;
    for (const context of other.#contexts) this.#link(context);
    this.#unlinked += other.#unlinked;
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

  #count(context: SpanContext | undefined): void {
    this.#members += 1;
    if (this.#members === 1) this.#first = context;
    else if (context?.traceId !== this.#first?.traceId) this.#mixed = true;
  }

  #link(context: SpanContext): void {
    // A link to a span that nobody recorded leads nowhere.
    if ((context.traceFlags & TraceFlags.SAMPLED) === 0) return;
    if (this.#contexts.at(-1)?.spanId === context.spanId) return;
    const key = context.traceId + context.spanId;
    this.#linked ??= new Set();
    if (this.#linked.has(key)) return;
    if (this.#contexts.length >= linksMax) {
      this.#unlinked += 1;
      return;
    }
    this.#linked.add(key);
    this.#contexts.push(context);
  }
}
