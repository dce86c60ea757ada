/**
 * METRICS rule 8, over real HTTP with an OpenTelemetry SDK behind it: one collection at a time with a short cache, a deadline, a few
 * waiting scrapes, 405, both formats, 500 with a reason, never 200 with an error, and an event loop that goes on.
 */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { systemClock } from "../../../src/core/clock.ts";
import { createHandler, type HandlerOptions } from "../../../src/http/handler.ts";
import { createPrometheusSerializer } from "../../../src/prometheus/serializer.ts";
import { type HttpListener, listenHttp } from "../../../src/serve/http-listener.ts";
import { bootstrap, type TelemetrySdk } from "../../../src/telemetry/bootstrap.ts";
import { eventually } from "../child.ts";

/** A gauge whose collection ends when the test says so. */
class Gate {
  collections = 0;
  #waiting: (() => void)[] = [];
  open = true;

  async pass(): Promise<void> {
    this.collections += 1;
    if (!this.open) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  release(): void {
    this.open = true;
    for (const go of this.#waiting.splice(0)) go();
  }
}

describe("rule 8: /metrics", () => {
  let sdk: TelemetrySdk;
  const gate = new Gate();
  const listeners: HttpListener[] = [];

  const listen = async (options: HandlerOptions = {}): Promise<string> => {
    const listener = await listenHttp(
      createHandler({ metrics: sdk.metrics, ...options }),
      "127.0.0.1:0",
    );
    listeners.push(listener);
    return `${listener.url}/metrics`;
  };
  const scrape = async (url: string, init: RequestInit = {}) => {
    const response = await fetch(url, init);
    return { status: response.status, headers: response.headers, body: await response.text() };
  };

  before(() => {
    sdk = bootstrap({ env: {}, register: false });
    const meter = sdk.meterProvider.getMeter("application");
    const gauge = meter.createObservableGauge("gated");
    gauge.addCallback(async (result) => {
      await gate.pass();
      result.observe(gate.collections);
    });
    // Enough that a body does not fit into a connection's buffers.
    const large = meter.createGauge("large");
    for (let i = 0; i < 1_990; i++) large.record(i, { filler: `${"x".repeat(2_000)}${i}` });
  });
  after(async () => {
    gate.release();
    for (const listener of listeners) await listener.stop();
    await sdk.shutdown();
  });

  it("collects once for 200 scrapes at a time: a few wait, the others are told to come again", async () => {
    const url = await listen({ scrape: { cacheMs: 0 } });
    const before = gate.collections;
    gate.open = false;
    const formats = ["text/plain", "application/openmetrics-text"];
    let answered = 0;
    const all = Array.from({ length: 200 }, async (_, i) => {
      const answer = await scrape(url, { headers: { accept: formats[i % 2] ?? "" } });
      answered += 1;
      return answer;
    });
    await eventually("the others to be refused", () => Promise.resolve(answered === 192));
    gate.release();
    const answers = await Promise.all(all);
    assert.equal(gate.collections - before, 1);
    const good = answers.filter(({ status }) => status === 200);
    assert.equal(good.length, 8);
    for (const { body } of good) assert.match(body, new RegExp(`^gated ${gate.collections}$`, "m"));
    for (const { status, headers, body } of answers) {
      if (status === 200) continue;
      assert.equal(status, 503);
      assert.equal(headers.get("retry-after"), "1");
      assert.match(body, /^8 scrapes are waiting for one collection already\n$/);
    }
  });

  it("answers from a short cache, in either format", async () => {
    const url = await listen({ scrape: { cacheMs: 60_000 } });
    const before = gate.collections;
    const texts = [(await scrape(url)).body, (await scrape(url)).body];
    const openmetrics = await scrape(url, { headers: { accept: "application/openmetrics-text" } });
    assert.equal(gate.collections - before, 1);
    assert.equal(texts[0], texts[1]);
    assert.ok(openmetrics.body.endsWith("# EOF\n"));
  });

  it("gives up at its deadline with 503, and answers again once collecting does", async () => {
    const url = await listen({ scrape: { cacheMs: 0, deadlineMs: 300 } });
    gate.open = false;
    const late = await scrape(url);
    assert.equal(late.status, 503);
    assert.equal(late.body, "collecting metrics took longer than 300 ms\n");
    gate.release();
    await eventually("an answer", async () => (await scrape(url)).status === 200);
  });

  it("answers 405 to other methods, and HEAD as GET without a body", async () => {
    const url = await listen();
    for (const method of ["POST", "PUT", "DELETE", "PATCH"]) {
      const { status, headers } = await scrape(url, { method });
      assert.deepEqual([status, headers.get("allow")], [405, "GET, HEAD"]);
    }
    const head = await scrape(url, { method: "HEAD" });
    assert.deepEqual([head.status, head.body], [200, ""]);
  });

  it("negotiates text 0.0.4 and OpenMetrics 1.0.0", async () => {
    const url = await listen();
    const typeFor = async (accept: string) =>
      (await scrape(url, { headers: { accept } })).headers.get("content-type");
    assert.equal(await typeFor("*/*"), "text/plain; version=0.0.4; charset=utf-8");
    assert.equal(
      await typeFor("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"),
      "application/openmetrics-text; version=1.0.0; charset=utf-8",
    );
  });

  it("is 500 with a plain reason when collecting fails, never 200 with an error", async () => {
    const closed = bootstrap({ env: {}, register: false });
    const url = await listen({ metrics: closed.metrics, scrape: { cacheMs: 0 } });
    assert.equal((await scrape(url)).status, 200);
    await closed.shutdown();
    for (const accept of ["text/plain", "application/openmetrics-text"]) {
      const { status, headers, body } = await scrape(url, { headers: { accept } });
      assert.equal(status, 500);
      assert.equal(headers.get("content-type"), "text/plain; charset=utf-8");
      assert.match(body, /^collecting metrics failed: .*shutdown\n$/);
    }
  });

  it("shows the rest where one instrument fails, and counts the failure", async () => {
    const own = bootstrap({ env: {}, register: false });
    const meter = own.meterProvider.getMeter("application");
    meter.createObservableGauge("broken").addCallback(() => {
      throw new Error("no value");
    });
    meter.createCounter("fine").add(1);
    const url = await listen({ metrics: own.metrics, scrape: { cacheMs: 0 } });
    assert.match((await scrape(url)).body, /^fine_total 1$/m);
    const again = await scrape(url);
    assert.equal(again.status, 200);
    assert.match(again.body, /^streamhouse_telemetry_collect_errors_total 1$/m);
    await own.shutdown();
  });

  it("outlives clients that go away in the middle of a body", async () => {
    const url = await listen({ scrape: { cacheMs: 0, waitingMax: 100 } });
    const { hostname, port } = new URL(url);
    const leave = () =>
      new Promise<void>((resolve, reject) => {
        const socket = connect(Number(port), hostname, () => {
          socket.write("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
        });
        socket.once("error", reject);
        socket.once("data", () => {
          socket.destroy();
          resolve();
        });
      });
    // More than may be read at a time: each must make room when it has left.
    for (let round = 0; round < 5; round++) {
      await Promise.all(Array.from({ length: 10 }, leave));
    }
    await eventually("a whole answer", async () => {
      const { status, body } = await scrape(url);
      return status === 200 && body.includes("large{");
    });
  });

  it("lets the event loop run while 22,000 series are written", async () => {
    const points = (count: number) =>
      Array.from({ length: count }, (_, i) => ({
        attributes: { topic: `topic ${i}`, group_id: "billing" },
        endTime: [1, 0] as const,
        value: {
          buckets: { boundaries: [0.01, 0.1, 1, 10], counts: [1, 2, 3, 4, i] },
          count: 10 + i,
          sum: i / 3,
        },
      }));
    const metrics = Array.from({ length: 22 }, (_, i) => ({
      descriptor: { name: `family.${i}`, description: "", unit: "s" },
      dataPointType: 0,
      aggregationTemporality: 1,
      dataPoints: points(1_000),
    }));
    const resourceMetrics = {
      resource: { attributes: {} },
      scopeMetrics: [{ scope: { name: "s" }, metrics }],
    };
    // A clock by which each look is a millisecond of work: how often it is looked at is what keeps pauses short.
    let now = 0;
    let rests = 0;
    const clock = {
      now: () => now,
      monotonic: () => now++,
      schedule(delayMs: number, fn: () => void) {
        rests += 1;
        return systemClock.schedule(delayMs, fn);
      },
    };
    let chunks = 0;
    let bytes = 0;
    for await (const chunk of createPrometheusSerializer({}, clock).serialize(resourceMetrics)) {
      chunks += 1;
      bytes = Math.max(bytes, chunk.length);
    }
    assert.ok(bytes < 40_000, `a chunk of ${bytes} bytes`);
    // Looked at for each chunk and for every 128 points, rested at each fourth look at the latest.
    assert.ok(rests >= Math.floor((chunks + 22 * 7) / 5), `${rests} rests in ${chunks} chunks`);
  });
});
