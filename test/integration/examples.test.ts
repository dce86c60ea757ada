/** Every file of examples/ is run, as a newcomer runs it, by the runtime that runs this test. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { connect } from "../../src/index.ts";
import { Child, eventually, root } from "./child.ts";
import { temporaryFolder } from "./ways.ts";

const example = (name: string, args: readonly string[], cwd?: string) => {
  const child = new Child(`${root}examples/${name}`, args, cwd === undefined ? {} : { cwd });
  child.process.stdin.end();
  return child;
};

describe("examples", () => {
  let agent: Child;
  let grpc: string;
  let http: string;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;

  before(async () => {
    folder = await temporaryFolder();
    // Without a third argument the data is in ./data, as the file says.
    agent = example("agent.ts", ["127.0.0.1:0", "127.0.0.1:0"], folder.path);
    grpc = await agent.says("the agent's address", (out) => /clients on (\S+)/.exec(out)?.[1]);
    http = await agent.says("its metrics", (out) => /metrics on (\S+)\/metrics/.exec(out)?.[1]);
  });

  after(async () => {
    await agent.end("SIGKILL");
    await folder.remove();
  });

  it("are all run here", () => {
    const files = readdirSync(`${root}examples`).filter((name) => name.endsWith(".ts"));
    const run = ["agent", "consumer", "deno", "embedded", "hono", "producer", "prometheus", "run"];
    assert.deepEqual(
      files.sort(),
      run.map((name) => `${name}.ts`),
    );
  });

  it("agent.ts serves health, readiness and metrics", async () => {
    assert.equal((await fetch(`${http}/health`)).status, 200);
    // It holds no leases before there are topics.
    assert.ok([200, 503].includes((await fetch(`${http}/ready`)).status));
    assert.match(await (await fetch(`${http}/metrics`)).text(), /streamhouse_/);
  });

  it("producer.ts sends a thousand orders, and consumer.ts reads them until it is told to stop", async () => {
    const producer = await example("producer.ts", [grpc]).finished();
    assert.equal(producer.code, 0, producer.stderr);
    assert.match(producer.stdout, /order 0 is in partition \d at offset 0\nsent 1000 orders\n/);
    const consumer = example("consumer.ts", [grpc]);
    await consumer.says("a thousand orders", (out) => out.includes("1000 orders"));
    const { code, stderr } = await consumer.end("SIGTERM");
    assert.equal(code, 0, stderr);
    assert.equal((await fetch(`${http}/ready`)).status, 200);
  });

  it("run.ts ships the orders that can be shipped, and says which cannot", async () => {
    const shipping = example("run.ts", [grpc]);
    await using house = await connect({ agents: [grpc] });
    const through = eventually("all of them to be shipped or given up", async () => {
      const { lags } = await house.admin.describeGroup("shipping");
      return lags.length === 3 && lags.every((it) => it.lagRecords === 0);
    });
    await through.catch(() => shipping.end("SIGKILL"));
    const { code, stdout, stderr } = await shipping.end("SIGTERM");
    assert.equal(code, 0, stderr);
    const lines = stdout.split("\n").filter((line) => line.includes("was not shipped"));
    const unshipped = [249, 499, 749, 999].map(
      (order) => `order ${order} was not shipped: the address does not exist`,
    );
    assert.deepEqual(lines.sort(), unshipped);
  });

  it("embedded.ts sends and reads without a network", async () => {
    const data = await temporaryFolder();
    const { code, stdout, stderr } = await example("embedded.ts", [], data.path).finished();
    assert.equal(code, 0, stderr);
    assert.deepEqual(
      stdout.split("\n").map((line) => line.split(": ")[1]),
      ["/", "/docs", "/docs/guarantees", undefined],
    );
    await data.remove();
  });

  it("deno.ts finds the package by its own name through the import map", {
    skip: "Deno" in globalThis ? false : "it is for Deno",
  }, async () => {
    const { code, stdout, stderr } = await example("deno.ts", []).finished();
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^roof: 21\.5 °C \(partition \d\)$/m);
    assert.match(stdout, /^cellar: 12 °C \(partition \d\)$/m);
  });

  it("hono.ts answers its own route and StreamHouse's, and stops at SIGTERM", async () => {
    const shop = example("hono.ts", ["0"]);
    const url = await shop.says("the shop's address", (out) => /shop on (\S+),/.exec(out)?.[1]);
    for (const visitor of [1, 2]) {
      assert.equal(await (await fetch(url)).text(), `you are visitor ${visitor}\n`);
    }
    assert.equal((await fetch(`${url}ready`)).status, 200);
    await eventually("the visits to be counted", async () => {
      const text = await (await fetch(`${url}metrics`)).text();
      return /^streamhouse_records_written_total\{.*topic="visits".*\} 2$/m.test(text);
    });
    const { code, stderr } = await shop.end("SIGTERM");
    assert.equal(code, 0, stderr);
  });

  it("prometheus.ts serves an application's own metrics on loopback, and stops at SIGTERM", async () => {
    const bakery = example("prometheus.ts", ["0"]);
    const url = await bakery.says("where", (out) => /metrics on (\S+)/.exec(out)?.[1]);
    assert.equal(new URL(url).hostname, "127.0.0.1");
    const text = await (await fetch(url)).text();
    assert.match(
      text,
      /^# TYPE loaves_baked_total counter\nloaves_baked_total\{kind="rye"\} \d+$/m,
    );
    assert.match(text, /^oven_duration_seconds_count\{oven="left"\} \d+$/m);
    const { code, stderr } = await bakery.end("SIGTERM");
    assert.equal(code, 0, stderr);
  });

  // Last: the others need it.
  it("agent.ts drains at SIGTERM and exits with 0", async () => {
    const { code, stderr } = await agent.end("SIGTERM");
    assert.equal(code, 0, stderr);
  });
});
