/** Where an HTTP handler gets the text for `/metrics`. Made by the bootstrap; anything of this shape will do. */

/** What `/metrics` answers: the text, and the type of it that the reader is told. */
export interface MetricsText {
  readonly body: string;
  readonly contentType: string;
}

/** Where `/metrics` gets its text: `bootstrap().metrics`, or anything else that can write it. */
export interface MetricsSource {
  /** Collects once and writes the result. Rejects, with a reason an operator can read, if that failed. */
  collect(): Promise<MetricsText>;
}

/** The text format that every Prometheus reads. */
export const PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8";
