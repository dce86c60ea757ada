/** Where an HTTP handler gets the text for `/metrics`. Made by the bootstrap; anything of this shape will do. */

export interface MetricsText {
  readonly body: string;
  readonly contentType: string;
}

export interface MetricsSource {
  /** Collects once and writes the result. Rejects, with a reason an operator can read, if that failed. */
  collect(): Promise<MetricsText>;
}

/** The text format that every Prometheus reads. */
export const PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8";
