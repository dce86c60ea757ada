/** One collection and what was written of it so far: each format and each encoding once. Called by `scrape.ts`. */
import type { Clock } from "../core/clock.ts";
import { type Chunks, canGzip, gzip } from "./compress.ts";
import type { PrometheusFormat } from "./format.ts";
import type { NegotiatedFormat } from "./negotiation.ts";

/** What was collected, ready to be written. */
export interface Gathered {
  /** Called at most once for each format. */
  write(format: PrometheusFormat): AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** What it is, where it is not what was negotiated. */
  readonly contentType?: string | undefined;
  /** What failed while the rest was collected. Default nothing. */
  readonly errors?: readonly unknown[] | undefined;
}

/** Collects once. Rejects, with a reason an operator can read, if that failed. */
export type Gather = () => Promise<Gathered>;

export interface ScrapeBody {
  readonly chunks: Chunks;
  readonly contentType: string;
  readonly gzipped: boolean;
}

export class Collection {
  readonly startedAt: number;
  readonly #gathered: Promise<Gathered>;
  readonly #texts = new Map<PrometheusFormat, Promise<Chunks>>();
  #abandoned = false;
  /** Until when it may be answered again, by the monotonic clock; set when the first body is there. */
  until: number | undefined = undefined;

  constructor(gather: Gather, clock: Clock) {
    this.startedAt = clock.monotonic();
    this.#gathered = (async () => gather())();
  }

  get gathered(): Promise<Gathered> {
    return this.#gathered;
  }

  /** Nobody waits for it any more: what is being written is broken off. */
  abandon(): void {
    this.#abandoned = true;
  }

  async body(negotiated: NegotiatedFormat, zipped: boolean): Promise<ScrapeBody> {
    const { contentType = negotiated.contentType } = await this.#gathered;
    const text = await this.#textOf(negotiated.format);
    if (!zipped || !canGzip(text)) return { chunks: text, contentType, gzipped: false };
    return { chunks: await gzip(text), contentType, gzipped: true };
  }

  #textOf(format: PrometheusFormat): Promise<Chunks> {
    const known = this.#texts.get(format);
    if (known !== undefined) return known;
    const text = this.#write(format);
    this.#texts.set(format, text);
    return text;
  }

  async #write(format: PrometheusFormat): Promise<Chunks> {
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    for await (const chunk of (await this.#gathered).write(format)) {
      if (this.#abandoned) throw new Error("given up");
      chunks.push(chunk);
    }
    return chunks;
  }
}
