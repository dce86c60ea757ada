/**
 * An HTTP proxy in front of the S3 server that all agents share: it answers 503 or 500, answers nothing, or breaks off half-way, before
 * the server saw the request or after it did its work. It passes the `Host` header on as it came, since requests are signed with it.
 */
import { once } from "node:events";
import {
  Agent,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { Seeded } from "./seeded.ts";

/** What the server suffers from. */
export type StoreTrouble = 503 | 500 | "timeout" | "broken";

/** Of the requests that come while there is trouble; the others pass. */
const troubledShare = 0.6;

const bodies: Readonly<Record<503 | 500, string>> = {
  503: "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>",
  500: "<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>",
};

export class StoreProxy {
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #connections = new Agent({ keepAlive: true });
  /** Requests that will never be answered. */
  readonly #hung = new Set<ServerResponse>();
  #trouble: { readonly what: StoreTrouble; readonly random: Seeded } | undefined;
  #troubled = 0;

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#target = target;
    this.#server = createServer((request, response) => this.#handle(request, response));
  }

  static async start(endpoint: string): Promise<StoreProxy> {
    const { hostname, port } = new URL(endpoint);
    const proxy = new StoreProxy({ host: hostname, port: Number(port) });
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy is closed");
    return address.port;
  }

  /** Requests that met trouble so far. */
  get troubled(): number {
    return this.#troubled;
  }

  begin(what: StoreTrouble, random: Seeded): void {
    this.#trouble = { what, random };
  }

  /** From now on everything passes; who waits for an answer that never comes has his connection broken. */
  heal(): void {
    this.#trouble = undefined;
    for (const response of this.#hung) response.destroy();
    this.#hung.clear();
  }

  async stop(): Promise<void> {
    this.heal();
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    this.#connections.destroy();
    await closed;
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    request.on("error", () => {});
    response.on("error", () => {});
    const trouble = this.#trouble;
    if (trouble?.random.chance(troubledShare) !== true) {
      this.#pass(request, response, (answer) => relay(answer, response));
      return;
    }
    this.#troubled += 1;
    const { random, what } = trouble;
    const afterWork = random.chance(0.5);
    if (what === "broken") this.#breakOff(request, response, afterWork);
    else if (afterWork) {
      this.#pass(request, response, (answer) => {
        answer.resume().on("end", () => this.#fail(response, what));
      });
    } else request.resume().on("end", () => this.#fail(response, what));
  }

  #fail(response: ServerResponse, what: 503 | 500 | "timeout"): void {
    if (what === "timeout") {
      // Healed meanwhile: nobody would end it any more.
      if (this.#trouble?.what === "timeout") this.#hung.add(response);
      else response.destroy();
      return;
    }
    response.writeHead(what, { "content-type": "application/xml" }).end(bodies[what]);
  }

  /** Half of an answer, or half of an upload. */
  #breakOff(request: IncomingMessage, response: ServerResponse, afterWork: boolean): void {
    if (!afterWork) {
      request.once("data", () => request.destroy());
      request.once("end", () => request.destroy());
      return;
    }
    this.#pass(request, response, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.once("data", (bytes: Uint8Array) => {
        response.write(bytes.subarray(0, Math.floor(bytes.length / 2)), () => response.destroy());
      });
      answer.once("end", () => response.destroy());
    });
  }

  #pass(
    request: IncomingMessage,
    response: ServerResponse,
    answered: (answer: IncomingMessage) => void,
  ): void {
    const upstream = httpRequest(
      {
        ...this.#target,
        agent: this.#connections,
        method: request.method,
        path: request.url,
        headers: withoutExpect(request.rawHeaders),
      },
      answered,
    );
    upstream.on("error", () => response.destroy());
    response.on("close", () => {
      if (!response.writableFinished) upstream.destroy();
    });
    request.pipe(upstream);
  }
}

function relay(answer: IncomingMessage, response: ServerResponse): void {
  answer.on("error", () => response.destroy());
  response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
  answer.pipe(response);
}

/** This server has said "continue" by itself; the real one must not wait for it again. */
function withoutExpect(raw: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i]?.toLowerCase() !== "expect") kept.push(raw[i] as string, raw[i + 1] as string);
  }
  return kept;
}
