/**
 * The sampler's half that parents do not decide: a batch of several traces has no parent but links, and what a sampled trace links to
 * must be recorded, or the trace ends in the middle. Used by the bootstrap; exported for applications with an SDK of their own.
 */
import {
  type Attributes,
  type Context,
  type Link,
  type SpanKind,
  TraceFlags,
} from "@opentelemetry/api";
import { type Sampler, SamplingDecision, type SamplingResult } from "@opentelemetry/sdk-trace-base";

/**
 * A sampler for spans without a parent: as `root` decides, but a span that is linked to a sampled one is recorded. Use it as
 * `new ParentBasedSampler({ root: sampleLinked(new TraceIdRatioBasedSampler(0.01)) })`.
 */
export function sampleLinked(root: Sampler): Sampler {
  return new LinkSampler(root);
}

class LinkSampler implements Sampler {
  readonly #root: Sampler;

  constructor(root: Sampler) {
    this.#root = root;
  }

  shouldSample(
    context: Context,
    traceId: string,
    spanName: string,
    spanKind: SpanKind,
    attributes: Attributes,
    links: Link[],
  ): SamplingResult {
    const isLinked = links.some((it) => (it.context.traceFlags & TraceFlags.SAMPLED) !== 0);
    return isLinked
      ? { decision: SamplingDecision.RECORD_AND_SAMPLED }
      : this.#root.shouldSample(context, traceId, spanName, spanKind, attributes, links);
  }

  toString(): string {
    return `LinkSampler{${this.#root.toString()}}`;
  }
}
