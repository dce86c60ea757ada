/**
 * The bytes of our exports, in both encodings: a mock OTLP server of another maker accepts and decodes them, and decoded independently
 * (protobuf by protoc) they hold the same trees as Jaeger shows. Runs everywhere, also where Collector and Jaeger cannot be built.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { after, before, describe, it } from "node:test";
import { eventually } from "../integration/child.ts";
import { spansOfJson, spansOfProtobuf } from "./otlp-bytes.ts";
import { type Running, runFile } from "./running.ts";
import type { SeenSpan } from "./seen-span.ts";
import {
  checkAttributes,
  checkBulk,
  checkConsumer,
  checkMixedBatch,
  checkProcessed,
  checkTree,
  creationsIn,
  runTraced,
  type TracedRun,
} from "./traced-run.ts";

interface Export {
  readonly contentType: string;
  readonly body: Uint8Array;
}

/** Passes every request on to `target` and keeps a copy of it. */
async function startCopier(target: string, copies: Export[]): Promise<Server> {
  const server = createServer(async (request, response) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const contentType = request.headers["content-type"] ?? "";
    const answer = await fetch(`${target}${request.url}`, {
      method: "POST",
      headers: { "content-type": contentType },
      body,
    });
    if (answer.ok) copies.push({ contentType, body });
    response.writeHead(answer.status, { "content-type": contentType });
    response.end(new Uint8Array(await answer.arrayBuffer()));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

const encodings = [
  {
    protocol: "http/protobuf",
    contentType: "application/x-protobuf",
    decode: spansOfProtobuf,
  },
  { protocol: "http/json", contentType: "application/json", decode: spansOfJson },
] as const;

for (const { protocol, contentType, decode } of encodings) {
  describe(`the bytes of ${protocol}`, () => {
    const exports: Export[] = [];
    let mock: Running;
    let copier: Server;
    let run: TracedRun;
    let spans: readonly SeenSpan[] = [];

    before(async () => {
      mock = runFile("node", "test/peers/programs/mock-otlp.ts", []);
      const { url } = await mock.says<{ readonly url: string }>();
      copier = await startCopier(url.replace(/\/$/, ""), exports);
      const address = copier.address();
      const port = typeof address === "object" ? address?.port : 0;
      run = await runTraced({
        otlp: `http://127.0.0.1:${port}`,
        protocol,
        agent: "node",
        producer: "node",
        consumer: "node",
      });
      spans = exports.flatMap(({ body }) => decode(body));
    });
    after(async () => {
      copier?.close();
      copier?.closeAllConnections();
      await mock?.end();
    });

    const ofTrace = (...traceIds: readonly string[]) =>
      spans.filter(({ traceId }) => traceIds.includes(traceId));
    const all = (name: string) => spans.filter((span) => span.name === name);

    it("are accepted and decoded by a server of another maker, span for span", async () => {
      assert.deepEqual([...new Set(exports.map((it) => it.contentType))], [contentType]);
      await eventually("the mock server to have decoded everything", () => {
        const counts = mock.stdout.matchAll(/^decoded (\d+)$/gm);
        return [...counts].reduce((sum, [, n]) => sum + Number(n), 0) === spans.length;
      });
      assert.equal(mock.ended, false, "it crashes on what it cannot decode");
    });

    it("hold one trace from the application to the object store", () => {
      checkTree(ofTrace(run.single), run);
      checkAttributes(ofTrace(run.single), run);
    });

    it("hold the links of batches, of reading and of processing", () => {
      const created = creationsIn(spans, run);
      const ofMixed = created.filter(({ traceId }) => run.mixed.includes(traceId));
      checkMixedBatch(all("send_batch_to_agent"), ofMixed);
      checkBulk(ofTrace(run.bulk), run);
      checkProcessed(all(`process ${run.topic}`), created);
      const settling = all("settling").map(({ traceId }) => traceId);
      checkConsumer(all(`receive ${run.topic}`), ofTrace(...settling), created, run);
    });
  });
}
