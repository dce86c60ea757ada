/** Our exposition against the suite of the seven points, in every way it can be used; and the stock exporter, which fails them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { createContext, runInContext } from "node:vm";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import type { IMetricReader, MetricProducer } from "@opentelemetry/sdk-metrics";
import { root } from "../../scripts/runtimes.ts";
import {
  createPrometheusHandler,
  createPrometheusReader,
  servePrometheus,
} from "../../src/prometheus.ts";
import { type Answer, checks, describeExposition, type Subject } from "./exposition.ts";
import { startApplication } from "./exposition-application.ts";
import type { startWorker } from "./exposition-worker.ts";

async function answerOf(response: Response): Promise<Answer> {
  const { status, headers } = response;
  return { status, contentType: headers.get("content-type") ?? "", body: await response.text() };
}

const headersOf = (accept: string | undefined) => (accept === undefined ? {} : { accept });

/** Without a server: requests are handed to the handler, as a worker's runtime does. */
function handled(createReader: (producers: MetricProducer[]) => IMetricReader): Subject {
  let reader: IMetricReader | undefined;
  const application = startApplication((producers) => {
    reader = createReader(producers);
    return reader;
  });
  assert.ok(reader);
  const handler = createPrometheusHandler(reader);
  return {
    host: undefined,
    scrape: async (accept) => {
      const request = new Request("http://localhost/metrics", { headers: headersOf(accept) });
      return answerOf(await handler(request));
    },
    fail: () => application.fail(),
    stop: () => application.shutdown(),
  };
}

async function overHttp(url: string, accept: string | undefined): Promise<Answer> {
  // fetch() sends `*/*` by itself.
  return answerOf(await fetch(url, { headers: headersOf(accept) }));
}

describeExposition("a handler of our reader", async () =>
  handled((metricProducers) => createPrometheusReader({ metricProducers })),
);

describeExposition("a handler of the stock exporter's collection", async () =>
  handled(
    (metricProducers) => new PrometheusExporter({ preventServerStart: true, metricProducers }),
  ),
);

describeExposition("our own server", async () => {
  let reader: IMetricReader | undefined;
  const application = startApplication((metricProducers) => {
    reader = createPrometheusReader({ metricProducers });
    return reader;
  });
  assert.ok(reader);
  const server = await servePrometheus(reader, { port: 0 });
  return {
    host: new URL(server.url).hostname,
    scrape: (accept) => overHttp(server.url, accept),
    fail: () => application.fail(),
    async stop() {
      await server.close();
      await application.shutdown();
    },
  };
});

describe("a bundle for workers", () => {
  it("has no node: module and no server in it", () => {
    const modules = workerBundle().match(/["'`]node:[a-z]+/g) ?? [];
    assert.deepEqual(modules, []);
  });
});

let bundled: string | undefined;

/** esbuild fails for the browser platform if anything imports a module of Node. */
function workerBundle(): string {
  if (bundled !== undefined) return bundled;
  const folder = mkdtempSync(join(tmpdir(), "streamhouse-worker-"));
  const outfile = join(folder, "worker.js");
  const made = spawnSync(join(root, "node_modules/esbuild/bin/esbuild"), [
    join(root, "test/contract/exposition-worker.ts"),
    "--bundle",
    "--platform=browser",
    "--conditions=workerd,worker,browser",
    "--format=iife",
    "--global-name=bundle",
    `--outfile=${outfile}`,
  ]);
  assert.equal(made.status, 0, made.stderr?.toString());
  bundled = readFileSync(outfile, "utf8");
  rmSync(folder, { recursive: true });
  return bundled;
}

/** What a worker has: nothing of Node, Bun or Deno. */
function webGlobals(): Record<string, unknown> {
  const names = [
    "AbortController AbortSignal Blob CompressionStream DOMException Headers ReadableStream Request Response",
    "TextDecoder TextEncoder TransformStream URL URLSearchParams WritableStream clearInterval clearTimeout",
    "console crypto fetch performance queueMicrotask setInterval setTimeout structuredClone",
  ];
  const all = globalThis as unknown as Record<string, unknown>;
  return Object.fromEntries(
    names
      .join(" ")
      .split(" ")
      .map((name) => [name, all[name]]),
  );
}

describeExposition("a bundle in a context with Web globals only", async () => {
  const context = createContext(webGlobals());
  const bundle = runInContext(`${workerBundle()}; bundle`, context) as {
    startWorker: typeof startWorker;
  };
  assert.equal(
    runInContext("typeof process + typeof Buffer + typeof require", context),
    "undefined".repeat(3),
  );
  const worker = bundle.startWorker();
  return {
    host: undefined,
    scrape: async (accept) => {
      const request = new Request("http://localhost/metrics", { headers: headersOf(accept) });
      return answerOf(await worker.fetch(request));
    },
    fail: () => worker.fail(),
    stop: () => worker.shutdown(),
  };
});

/** Free a moment ago: the stock exporter takes port 0 for 9464. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" ? (address?.port ?? 0) : 0));
    });
  });
}

async function startStock(): Promise<Subject> {
  const port = await freePort();
  let exporter: PrometheusExporter | undefined;
  const application = startApplication((metricProducers) => {
    exporter = new PrometheusExporter({
      port,
      metricProducers,
      withoutScopeInfo: true,
      preventServerStart: true,
    });
    return exporter;
  });
  assert.ok(exporter);
  await exporter.startServer();
  const { _server: server } = exporter as unknown as {
    _server: { address(): { address: string } };
  };
  return {
    host: server.address().address,
    scrape: (accept) => overHttp(`http://127.0.0.1:${port}/metrics`, accept),
    fail: () => application.fail(),
    stop: () => application.shutdown(),
  };
}

describe("the stock exporter, which shows that the suite can fail,", () => {
  let stock: () => Promise<Subject>;
  before(() => {
    stock = startStock;
  });
  for (const check of checks) {
    it(`does not pass: ${check.name}`, async () => {
      const subject = await stock();
      try {
        await assert.rejects(check.run(subject), { name: "AssertionError" });
      } finally {
        await subject.stop();
      }
    });
  }
});
