/**
 * A recording span of the application's SDK that cannot fail the work it measures: what throws in there (a span processor, a limit, a
 * hand-made tracer) is swallowed, and the work goes on. Made by `spans.ts` for every span that is recorded.
 */
import type {
  Attributes,
  AttributeValue,
  Exception,
  Link,
  Span,
  SpanContext,
  SpanStatus,
  TimeInput,
} from "@opentelemetry/api";

export class GuardedSpan implements Span {
  readonly #span: Span;
  readonly #context: SpanContext;

  /** @throws what the span throws when it is asked who it is: then there is no span */
  constructor(span: Span) {
    this.#span = span;
    this.#context = span.spanContext();
  }

  spanContext(): SpanContext {
    return this.#context;
  }

  isRecording(): boolean {
    try {
      return this.#span.isRecording();
    } catch {
      return false;
    }
  }

  setAttribute(key: string, value: AttributeValue): this {
    return this.#try((span) => span.setAttribute(key, value));
  }

  setAttributes(attributes: Attributes): this {
    return this.#try((span) => span.setAttributes(attributes));
  }

  addEvent(name: string, attributesOrTime?: Attributes | TimeInput, time?: TimeInput): this {
    return this.#try((span) => span.addEvent(name, attributesOrTime, time));
  }

  addLink(link: Link): this {
    return this.#try((span) => span.addLink(link));
  }

  addLinks(links: Link[]): this {
    return this.#try((span) => span.addLinks(links));
  }

  setStatus(status: SpanStatus): this {
    return this.#try((span) => span.setStatus(status));
  }

  updateName(name: string): this {
    return this.#try((span) => span.updateName(name));
  }

  recordException(exception: Exception, time?: TimeInput): void {
    this.#try((span) => span.recordException(exception, time));
  }

  end(time?: TimeInput): void {
    this.#try((span) => span.end(time));
  }

  #try(work: (span: Span) => unknown): this {
    try {
      work(this.#span);
    } catch {
      // The application's to mend.
    }
    return this;
  }
}
