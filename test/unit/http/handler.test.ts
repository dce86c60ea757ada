import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createHandler, type HandlerOptions } from "../../../src/http/handler.ts";
import type { StatusSource } from "../../../src/http/readiness.ts";
import { bootstrap } from "../../../src/telemetry/bootstrap.ts";

type Status = ReturnType<StatusSource["status"]>;

const serving: Status = {
  phase: "serving",
  activeLeases: 3,
  metadataDownForMs: 0,
  storeDownForMs: 0,
};
const agent = (status: Partial<Status>): StatusSource => ({
  status: () => ({ ...serving, ...status }),
});
const metrics = {
  collect: () => Promise.resolve({ body: "a 1\n", contentType: "text/plain; version=0.0.4" }),
};

function ask(options: HandlerOptions, path: string, init?: RequestInit): Promise<Response> {
  return createHandler(options)(new Request(`http://localhost:8080${path}`, init));
}

async function readiness(options: HandlerOptions): Promise<[number, string[]]> {
  const response = await ask(options, "/ready");
  assert.equal(response.headers.get("content-type"), "application/json");
  return [response.status, (await response.json()).reasons];
}

describe("GET /health", () => {
  it("is 200 while the process runs, whatever the agent does", async () => {
    const response = await ask(
      { agent: agent({ phase: "stopped", storeDownForMs: 1e6 }) },
      "/health",
    );
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), { status: "ok" });
    assert.equal(response.headers.get("cache-control"), "no-store");
  });
});

describe("GET /ready", () => {
  it("is 200 while the agent holds leases", async () => {
    const response = await ask({ agent: agent({}) }, "/ready");
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), {
      ready: true,
      reasons: [],
      phase: "serving",
      activeLeases: 3,
    });
  });

  it("is 503 without leases, and says why", async () => {
    const options = { agent: agent({ phase: "standby", activeLeases: 0 }) };
    assert.deepEqual(await readiness(options), [503, ["the agent holds no lease"]]);
  });

  it("accepts an agent on standby when asked to", async () => {
    const options = {
      agent: agent({ phase: "standby", activeLeases: 0 }),
      readiness: "standby" as const,
    };
    assert.deepEqual(await readiness(options), [200, []]);
  });

  it("is 503 while starting, draining and stopped, by either rule", async () => {
    for (const phase of ["starting", "draining", "stopped"] as const) {
      for (const rule of ["leases", "standby"] as const) {
        const expected = [503, [`the agent is ${phase}`]];
        assert.deepEqual(await readiness({ agent: agent({ phase }), readiness: rule }), expected);
      }
    }
  });

  it("is 503 when metadata or store have been unreachable for 10 s, not before", async () => {
    const both = { metadataDownForMs: 9_999, storeDownForMs: 9_999 };
    assert.deepEqual(await readiness({ agent: agent(both) }), [200, []]);
    const down = { metadataDownForMs: 10_000, storeDownForMs: 61_500 };
    assert.deepEqual(await readiness({ agent: agent(down), readiness: "standby" }), [
      503,
      ["metadata has not answered for 10 s", "the object store has not answered for 61 s"],
    ]);
  });

  it("is 200 in a process without an agent", async () => {
    assert.deepEqual(await readiness({}), [200, []]);
  });

  it("is 500 when the agent cannot be asked", async () => {
    const broken = {
      status() {
        throw new Error("no status");
      },
    };
    const response = await ask({ agent: broken }, "/ready");
    assert.equal(response.status, 500);
    assert.equal(await response.text(), "/ready failed: no status\n");
  });
});

describe("GET /metrics", () => {
  it("answers the text and its type", async () => {
    const response = await ask({ metrics }, "/metrics?x=1");
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4");
    assert.equal(response.headers.get("content-length"), "4");
    assert.equal(await response.text(), "a 1\n");
  });

  it("is 500 with a plain reason when collecting fails, never 200", async () => {
    const failing = { collect: () => Promise.reject(new Error("reader is shut down")) };
    const response = await ask({ metrics: failing }, "/metrics");
    assert.equal(response.status, 500);
    assert.match(response.headers.get("content-type") ?? "", /^text\/plain/);
    assert.equal(await response.text(), "collecting metrics failed: reader is shut down\n");
  });

  it("finds the bootstrap that is registered, also one that came after the handler", async () => {
    const handler = createHandler();
    const request = () => handler(new Request("http://x/metrics"));
    assert.equal((await request()).status, 404);
    for (const instruments of ["producer", "meter"] as const) {
      const sdk = bootstrap({ env: {}, instruments });
      const response = await request();
      assert.equal(response.status, 200);
      assert.match(await response.text(), /^streamhouse_telemetry_series /m);
      assert.equal((await ask({ metrics: false }, "/metrics")).status, 404);
      await sdk.shutdown();
    }
    assert.equal((await request()).status, 404);
  });

  it("is written in the format that is asked for, or by the stock serializer for everybody", async () => {
    const sdk = bootstrap({ env: {}, register: false });
    const source = sdk.metrics;
    const openmetrics = { headers: { accept: "application/openmetrics-text" } };
    const own = await ask({ metrics: source }, "/metrics", openmetrics);
    assert.match(
      own.headers.get("content-type") ?? "",
      /^application\/openmetrics-text; version=1/,
    );
    const ownText = await own.text();
    assert.match(ownText, /^# UNIT streamhouse_telemetry_scrape_duration_seconds seconds$/m);
    assert.ok(ownText.endsWith("# EOF\n"));
    const asStock = { source, serializer: "stock" } as const;
    const stock = await ask({ metrics: asStock }, "/metrics", openmetrics);
    assert.match(stock.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
    assert.match(await stock.text(), /^# UNIT streamhouse_telemetry_scrape_duration_seconds s$/m);
    await sdk.shutdown();
    const noStock = { metrics: { source: metrics, serializer: "stock" as const } };
    const refused = await ask(noStock, "/metrics");
    assert.equal(refused.status, 500);
    assert.match(await refused.text(), /no stock serializer/);
  });

  it("counts its scrapes by how they ended, and measures them", async () => {
    const sdk = bootstrap({ env: {}, register: false });
    const handler = createHandler({ metrics: sdk.metrics, scrape: { cacheMs: 0 } });
    const text = async () => (await handler(new Request("http://x/metrics"))).text();
    await text();
    await text();
    const body = await text();
    assert.match(body, /^streamhouse_telemetry_scrapes_total\{outcome="ok"\} 2$/m);
    assert.match(body, /^streamhouse_telemetry_scrape_duration_seconds_count 2$/m);
    await sdk.shutdown();
  });

  it("serves 200 scrapes at once with one collection: some get the text, the others 503", async () => {
    let collections = 0;
    let finish = () => {};
    const gate = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const slow = {
      async collect() {
        collections += 1;
        await gate;
        return { body: "a 1\n", contentType: "text/plain" };
      },
    };
    const handler = createHandler({ metrics: slow });
    const request = () => handler(new Request("http://x/metrics"));
    const answers = Promise.all(Array.from({ length: 200 }, request));
    finish();
    const statuses = (await answers).map((answer) => answer.status);
    assert.equal(collections, 1);
    assert.equal(statuses.filter((status) => status === 200).length, 8);
    assert.equal(statuses.filter((status) => status === 503).length, 192);
    const refused = (await answers).find((answer) => answer.status === 503);
    assert.equal(refused?.headers.get("retry-after"), "1");
    assert.match((await refused?.text()) ?? "", /8 scrapes are waiting/);
    // Afterwards everything is as before.
    assert.equal((await request()).status, 200);
  });
});

describe("any path", () => {
  const options = { agent: agent({}), metrics };

  it("answers HEAD as GET without the body", async () => {
    for (const path of ["/health", "/ready", "/metrics"]) {
      const get = await ask(options, path);
      const head = await ask(options, path, { method: "HEAD" });
      assert.equal(head.status, get.status);
      assert.equal(await head.text(), "");
      for (const name of ["content-type", "content-length"]) {
        assert.equal(head.headers.get(name), get.headers.get(name));
      }
    }
  });

  it("refuses other methods with 405 and what it allows", async () => {
    for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
      const response = await ask(options, "/metrics", { method });
      assert.equal(response.status, 405);
      assert.equal(response.headers.get("allow"), "GET, HEAD");
    }
  });

  it("is 404 when unknown, with any method", async () => {
    for (const path of ["/", "/metrics/", "/Health", "/favicon.ico"]) {
      assert.equal((await ask(options, path)).status, 404, path);
    }
    assert.equal((await ask(options, "/nothing", { method: "POST" })).status, 404);
  });
});

describe("a bearer token", () => {
  const options = { agent: agent({}), metrics, token: "s3cret" };
  const given = (authorization: string) => ({ headers: { authorization } });

  it("is needed for everything but the probes", async () => {
    assert.equal((await ask(options, "/health")).status, 200);
    assert.equal((await ask(options, "/ready")).status, 200);
    for (const path of ["/metrics", "/unknown"]) {
      const response = await ask(options, path);
      assert.equal(response.status, 401);
      assert.equal(response.headers.get("www-authenticate"), "Bearer");
    }
  });

  it("opens with the right token only", async () => {
    assert.equal((await ask(options, "/metrics", given("Bearer s3cret"))).status, 200);
    assert.equal((await ask(options, "/metrics", given("bearer s3cret"))).status, 200);
    for (const wrong of ["Bearer s3cre", "Bearer s3cretx", "Bearer ", "Basic s3cret", "s3cret"]) {
      assert.equal((await ask(options, "/metrics", given(wrong))).status, 401, wrong);
    }
  });

  it("must not be empty", () => {
    assert.throws(() => createHandler({ token: " " }), { code: "INVALID_ARGUMENT" });
  });

  it("is not the only way where the agent admits others; without either nothing is open", async () => {
    const admits = async (shown: string | undefined) => shown === "Bearer owner";
    for (const more of [{ token: "s3cret" }, {}]) {
      const handler = createHandler({ agent: agent({}), metrics, admits, ...more });
      const status = async (authorization: string) => {
        const headers = { authorization };
        return (await handler(new Request("http://h/metrics", { headers }))).status;
      };
      assert.equal(await status("Bearer owner"), 200);
      assert.equal(await status("Bearer s3cret"), "token" in more ? 200 : 401);
      assert.equal(await status("Bearer nobody"), 401);
      assert.equal((await handler(new Request("http://h/metrics"))).status, 401);
      assert.equal((await handler(new Request("http://h/health"))).status, 200);
    }
  });
});
