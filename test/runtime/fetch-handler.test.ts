/** The one `fetch` handler in whatever serves it: the runtime's own server (srvx on Node), and mounted in a Hono application. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Hono } from "hono";
import { serve as serveNode } from "srvx";
import { createHandler } from "../../src/http.ts";

type Fetch = (request: Request) => Response | Promise<Response>;

interface Listening {
  readonly url: string;
  stop(): Promise<void>;
}

/** Structural types of the two runtimes' servers, so that this file type-checks on all three. */
interface BunLike {
  serve(options: { fetch: Fetch; port: number; hostname: string }): {
    port: number;
    stop(force: boolean): Promise<void>;
  };
}
interface DenoLike {
  serve(
    options: { port: number; hostname: string; onListen(): void },
    handler: Fetch,
  ): { addr: { port: number }; shutdown(): Promise<void> };
}

async function listen(handler: Fetch): Promise<Listening> {
  const { Bun, Deno } = globalThis as { Bun?: BunLike; Deno?: DenoLike };
  const hostname = "127.0.0.1";
  if (Deno !== undefined) {
    const server = Deno.serve({ port: 0, hostname, onListen() {} }, handler);
    return { url: `http://${hostname}:${server.addr.port}`, stop: () => server.shutdown() };
  }
  if (Bun !== undefined) {
    const server = Bun.serve({ fetch: handler, port: 0, hostname });
    return { url: `http://${hostname}:${server.port}`, stop: () => server.stop(true) };
  }
  const server = await serveNode({
    fetch: handler,
    port: 0,
    hostname,
    silent: true,
    gracefulShutdown: false,
  }).ready();
  const url = (server.url ?? "").replace(/\/$/, "");
  return { url, stop: () => server.close(true) };
}

const phase = { activeLeases: 2, metadataDownForMs: 0, storeDownForMs: 0 };
const handler = createHandler({
  agent: { status: () => ({ phase: "serving", ...phase }) },
  metrics: {
    collect: async () => ({ body: "up 1\n", contentType: "text/plain; version=0.0.4" }),
  },
});

describe("the fetch handler", () => {
  let direct: Listening;
  let mounted: Listening;

  before(async () => {
    direct = await listen(handler);
    const app = new Hono();
    app.get("/", (c) => c.text("the application's own"));
    app.mount("/streamhouse", handler);
    mounted = await listen((request) => app.fetch(request));
  });
  after(async () => {
    await direct.stop();
    await mounted.stop();
  });

  const paths = ["/health", "/ready", "/metrics"];
  for (const path of paths) {
    it(`answers ${path} in the runtime's own server, and mounted in Hono`, async () => {
      for (const url of [`${direct.url}${path}`, `${mounted.url}/streamhouse${path}`]) {
        const response = await fetch(url);
        await response.text();
        assert.equal(response.status, 200, url);
      }
    });
  }

  it("answers HEAD, 405 with Allow, and 404", async () => {
    const head = await fetch(`${direct.url}/metrics`, { method: "HEAD" });
    assert.equal(head.status, 200);
    assert.equal(await head.text(), "");
    const post = await fetch(`${direct.url}/health`, { method: "POST" });
    await post.text();
    assert.equal(post.status, 405);
    assert.match(post.headers.get("allow") ?? "", /GET/);
    const missing = await fetch(`${direct.url}/nothing-here`);
    await missing.text();
    assert.equal(missing.status, 404);
  });

  it("leaves the application's own routes alone", async () => {
    const own = await fetch(`${mounted.url}/`);
    assert.equal(await own.text(), "the application's own");
  });
});
