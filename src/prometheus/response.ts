/** A scrape's result as an HTTP response: chunks at the client's pace, for a limited time. Called by `handler.ts`. */
import type { Clock } from "../core/clock.ts";
import type { ScrapeBody } from "./collection.ts";
import { byteLength, type Chunks } from "./compress.ts";
import type { ScrapeResult } from "./scrape.ts";

/** Large bodies that are being sent at a time; more are refused, so that slow readers cannot pile them up. */
const sendingMax = 32;

/** A client that takes longer to read its body is cut off. */
const sendMs = 30_000;

const PLAIN = "text/plain; charset=utf-8";

/** A plain line for people, not to be stored. */
export function plainResponse(
  request: Request,
  status: number,
  line: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const bytes = new TextEncoder().encode(`${line}\n`);
  const all = { "content-type": PLAIN, ...commonHeaders(bytes.length), ...headers };
  return new Response(request.method === "HEAD" ? null : bytes, { status, headers: all });
}

function commonHeaders(length: number): Record<string, string> {
  return {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-length": String(length),
  };
}

export class ScrapeResponses {
  readonly #clock: Clock;
  #sending = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  of(request: Request, result: ScrapeResult): Response {
    switch (result.outcome) {
      case "ok":
        return this.#ok(request, result.body);
      case "failed":
        return plainResponse(request, 500, result.reason);
      default:
        return plainResponse(request, 503, result.reason, { "retry-after": "1" });
    }
  }

  #ok(request: Request, body: ScrapeBody): Response {
    const { chunks, contentType, gzipped } = body;
    const headers: Record<string, string> = {
      ...commonHeaders(byteLength(chunks)),
      "content-type": contentType,
      vary: "accept, accept-encoding",
    };
    if (gzipped) headers["content-encoding"] = "gzip";
    if (request.method === "HEAD") return new Response(null, { headers });
    if (chunks.length <= 1) return new Response(chunks[0] ?? new Uint8Array(0), { headers });
    if (this.#sending >= sendingMax) {
      const reason = `${this.#sending} scrapes are being read already`;
      return plainResponse(request, 503, reason, { "retry-after": "1" });
    }
    return new Response(this.#stream(chunks), { headers });
  }

  #stream(chunks: Chunks): ReadableStream<Uint8Array<ArrayBuffer>> {
    let next = 0;
    let done = false;
    this.#sending += 1;
    const end = () => {
      if (done) return;
      done = true;
      this.#sending -= 1;
      timer?.cancel();
    };
    let cutOff = () => {};
    const timer = this.#clock.schedule(sendMs, () => cutOff(), { background: true });
    return new ReadableStream(
      {
        start(controller) {
          cutOff = () => {
            if (done) return;
            end();
            controller.error(new Error(`the scrape was not read within ${sendMs} ms`));
          };
        },
        pull(controller) {
          const chunk = chunks[next];
          next += 1;
          if (chunk !== undefined) controller.enqueue(chunk);
          if (next < chunks.length) return;
          end();
          controller.close();
        },
        cancel: end,
      },
      // Nothing is taken before the client wants it.
      { highWaterMark: 0 },
    );
  }
}
