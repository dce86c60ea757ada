import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MetricCollector } from "../../../src/prometheus/collected.ts";
import {
  createPrometheusHandler,
  type PrometheusHandlerOptions,
} from "../../../src/prometheus/handler.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { collected, gauge } from "./streams.ts";

function collectorOf(series: number, errors: readonly unknown[] = []): MetricCollector {
  const points = Array.from({ length: series }, (_, i) => ({ attributes: { i }, value: i }));
  const resourceMetrics = collected([gauge({ name: "g", points })]);
  return { collect: () => Promise.resolve({ resourceMetrics, errors }) };
}

function ask(
  collector: MetricCollector,
  options: PrometheusHandlerOptions = {},
  init: RequestInit = {},
  path = "/metrics",
): Promise<Response> {
  const request = new Request(`http://localhost${path}`, init);
  return createPrometheusHandler(collector, options)(request);
}

/** More than one chunk. */
const large = collectorOf(10_000);
const failing: MetricCollector = {
  collect: () => Promise.reject(new Error("reader is shut down")),
};

describe("the handler", () => {
  it("answers every path, or the one that it is given", async () => {
    for (const path of ["/", "/metrics", "/x?y"]) {
      assert.equal((await ask(collectorOf(1), {}, {}, path)).status, 200, path);
    }
    const options = { path: "/metrics" };
    assert.equal((await ask(collectorOf(1), options, {}, "/metrics?x=1")).status, 200);
    assert.equal((await ask(collectorOf(1), options, {}, "/other")).status, 404);
  });

  it("refuses other methods with 405 and what it allows", async () => {
    for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
      const response = await ask(collectorOf(1), {}, { method });
      assert.equal(response.status, 405);
      assert.equal(response.headers.get("allow"), "GET, HEAD");
    }
  });

  it("is 500 with one plain line when collecting fails, or cannot even begin", async () => {
    const thrower: MetricCollector = {
      collect() {
        throw new Error("reader is shut down");
      },
    };
    for (const collector of [failing, thrower]) {
      const response = await ask(
        collector,
        {},
        { headers: { accept: "application/openmetrics-text" } },
      );
      assert.equal(response.status, 500);
      assert.equal(response.headers.get("content-type"), "text/plain; charset=utf-8");
      assert.equal(await response.text(), "collecting metrics failed: reader is shut down\n");
    }
  });

  it("is 500 when what was collected cannot be written", async () => {
    const resourceMetrics = collected([
      { ...gauge({ name: "h", points: [{ value: null }] }), dataPointType: 0 },
    ]);
    const broken: MetricCollector = {
      collect: () => Promise.resolve({ resourceMetrics, errors: [] }),
    };
    const response = await ask(broken);
    assert.equal(response.status, 500);
    assert.match(await response.text(), /^collecting metrics failed: /);
  });

  it("shows what could be collected where something failed, and tells of the rest", async () => {
    const failed = new Error("a callback threw");
    const told: unknown[] = [];
    const onCollected = (_seconds: number, errors: readonly unknown[]) => told.push(...errors);
    const response = await ask(collectorOf(1, [failed]), { onCollected });
    assert.equal(response.status, 200);
    assert.deepEqual(told, [failed]);
  });

  it("answers HEAD as GET without the body, with gzip and without", async () => {
    for (const collector of [collectorOf(1), large]) {
      // What is compressed twice need not have the same length.
      const handler = createPrometheusHandler(collector, { cacheMs: 60_000 });
      const answer = (init: RequestInit) => handler(new Request("http://localhost/", init));
      for (const headers of [{}, { "accept-encoding": "gzip" }]) {
        const get = await answer({ headers });
        const head = await answer({ method: "HEAD", headers });
        assert.equal(head.status, 200);
        assert.equal(await head.text(), "");
        const bytes = new Uint8Array(await get.arrayBuffer());
        assert.equal(head.headers.get("content-length"), String(bytes.length));
        for (const name of ["content-type", "content-encoding", "content-length", "vary"]) {
          assert.equal(head.headers.get(name), get.headers.get(name), name);
        }
      }
    }
    assert.equal((await ask(failing, {}, { method: "HEAD" })).status, 500);
  });

  it("answers gzip to who takes it, of the same text, from a kilobyte on", async () => {
    const headers = { "accept-encoding": "br, gzip;q=0.5" };
    const zipped = await ask(large, {}, { headers });
    assert.equal(zipped.headers.get("content-encoding"), "gzip");
    assert.ok(zipped.body);
    const unzipped = zipped.body.pipeThrough(new DecompressionStream("gzip"));
    assert.equal(await new Response(unzipped).text(), await (await ask(large)).text());
    for (const [collector, options] of [
      [collectorOf(3), {}],
      [large, { gzip: false }],
    ] as const) {
      const plain = await ask(collector, options, { headers });
      assert.equal(plain.headers.get("content-encoding"), null);
      assert.match(await plain.text(), /^# TYPE g gauge/);
    }
  });

  it("says by what the answer varies, and that it is not to be kept", async () => {
    const { headers } = await ask(collectorOf(1));
    assert.equal(headers.get("vary"), "accept, accept-encoding");
    assert.equal(headers.get("cache-control"), "no-store");
    assert.equal(headers.get("x-content-type-options"), "nosniff");
  });

  it("waits for the resource's attributes, but not for ever", async () => {
    const clock = new ManualClock();
    let detected = () => {};
    const attributes: Record<string, string> = {};
    const resource = {
      attributes,
      asyncAttributesPending: true,
      waitForAsyncAttributes: () =>
        new Promise<void>((resolve) => {
          detected = resolve;
        }),
    };
    const resourceMetrics = { resource, scopeMetrics: [] };
    const collector = { collect: () => Promise.resolve({ resourceMetrics, errors: [] }) };
    const waiting = ask(collector, { clock });
    await clock.run(0);
    attributes["host.name"] = "late";
    detected();
    assert.match(await (await waiting).text(), /host_name="late"/);
    const impatient = ask(collector, { clock });
    await clock.run(1_000);
    assert.equal((await impatient).status, 200);
  });
});

describe("large bodies", () => {
  it("come in chunks at the reader's pace", async () => {
    const { body } = await ask(large);
    const reader = body?.getReader();
    const first = await reader?.read();
    assert.ok((first?.value?.length ?? 0) < 40_000);
    await reader?.cancel();
  });

  it("that nobody reads are so many at most; those who go away make room", async () => {
    const handler = createPrometheusHandler(large, { clock: new ManualClock(), cacheMs: 1_000 });
    const request = () => handler(new Request("http://localhost/"));
    const unread: Response[] = [];
    for (let i = 0; i < 32; i++) unread.push(await request());
    const refused = await request();
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get("retry-after"), "1");
    assert.equal(await refused.text(), "32 scrapes are being read already\n");
    await unread[0]?.body?.cancel();
    const next = await request();
    assert.equal(next.status, 200);
    await next.text();
    await unread[1]?.text();
    assert.equal((await request()).status, 200);
    assert.equal((await request()).status, 200);
    assert.equal((await request()).status, 503);
  });

  it("that are not read in time are cut off, and make room", async () => {
    const clock = new ManualClock();
    const handler = createPrometheusHandler(large, { clock });
    const response = await handler(new Request("http://localhost/"));
    const reader = response.body?.getReader();
    assert.equal((await reader?.read())?.done, false);
    clock.advance(30_000);
    await assert.rejects(async () => reader?.read(), /not read within 30000 ms/);
    assert.equal(clock.pending, 0);
  });
});
