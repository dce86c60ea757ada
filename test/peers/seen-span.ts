/** A span as a backend shows it, whichever: what Jaeger's API answers, or what was decoded from the bytes of an export. */

export interface SpanReference {
  readonly traceId: string;
  readonly spanId: string;
}

export interface SeenSpan extends SpanReference {
  readonly name: string;
  /** In the words of Jaeger: producer, consumer, client, server, internal. */
  readonly kind: string;
  /** `service.name` of its process. */
  readonly service: string;
  readonly parent: SpanReference | undefined;
  readonly links: readonly SpanReference[];
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  /** Names of its events. */
  readonly events: readonly string[];
}

/** The one span of this name. @throws Error that lists the names there are */
export function named(spans: readonly SeenSpan[], name: string): SeenSpan {
  const found = spans.filter((span) => span.name === name);
  const [first] = found;
  if (first === undefined || found.length > 1) {
    throw new Error(`${found.length} spans ${name}; there are: ${spans.map((it) => it.name)}`);
  }
  return first;
}

export function reference({ traceId, spanId }: SpanReference): SpanReference {
  return { traceId, spanId };
}
