/** A real Prometheus scrapes an agent under load, and its API returns the true counts. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { serve } from "../../src/agent.ts";
import { connect } from "../../src/index.ts";
import { bootstrap } from "../../src/telemetry.ts";
import { scratch } from "../package/packed.ts";

const RECORDS = 20_000;

/** A port that was free a moment ago: Prometheus does not tell which one it took for port 0. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" ? (address?.port ?? 0) : 0));
    });
  });
}

/** Asks until the answer satisfies, at most 30 s. */
async function until<T>(ask: () => Promise<T>, good: (value: T) => boolean): Promise<T> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const value = await ask().catch((error: unknown) => error as T);
    if (good(value)) return value;
    if (performance.now() > deadline) throw new Error(`still ${JSON.stringify(value)} after 30 s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

describe("a real Prometheus", () => {
  const folder = scratch("prometheus");
  let prometheus: ChildProcess | undefined;
  let api = "";
  let server: Awaited<ReturnType<typeof serve>>;
  let telemetry: ReturnType<typeof bootstrap>;
  let house: Awaited<ReturnType<typeof connect>>;

  const query = async (expression: string): Promise<number> => {
    const answer = await fetch(`${api}/api/v1/query?query=${encodeURIComponent(expression)}`);
    const body = (await answer.json()) as {
      data: { result: readonly { value: readonly [number, string] }[] };
    };
    return Number(body.data.result[0]?.value[1] ?? Number.NaN);
  };

  before(async () => {
    telemetry = bootstrap({ serviceName: "prometheus-test" });
    server = await serve({
      data: join(folder.path, "data"),
      grpc: "127.0.0.1:0",
      http: "127.0.0.1:0",
      telemetry,
    });
    const port = await freePort();
    api = `http://127.0.0.1:${port}`;
    const config = join(folder.path, "prometheus.yml");
    writeFileSync(
      config,
      [
        "global: { scrape_interval: 250ms, scrape_timeout: 250ms }",
        "scrape_configs:",
        "  - job_name: streamhouse",
        `    static_configs: [{ targets: ["${new URL(server.http).host}"] }]`,
      ].join("\n"),
    );
    prometheus = spawn(
      "prometheus",
      [
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(folder.path, "tsdb")}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: "ignore" },
    );
    prometheus.on("error", () => {});
    await until(
      async () => (await fetch(`${api}/-/ready`)).status,
      (status) => status === 200,
    );
    house = await connect({
      agents: [server.grpc],
      telemetry: {
        meterProvider: telemetry.meterProvider,
        tracerProvider: telemetry.tracerProvider,
      },
    });
  });
  after(async () => {
    await house?.close();
    await server?.stop();
    await telemetry?.shutdown();
    if (prometheus?.exitCode === null) {
      const ended = new Promise((resolve) => prometheus?.on("close", resolve));
      prometheus.kill("SIGTERM");
      await ended;
    }
    folder.remove();
  });

  it("counts what was sent, written and consumed, to the record", async () => {
    await house.admin.createTopic("scraped", { partitions: 4 });
    const producer = house.producer();
    const consumer = house.consumer({
      group: "scraped-group",
      topics: ["scraped"],
      offsetReset: "earliest",
    });
    const sends: Promise<unknown>[] = [];
    for (let i = 0; i < RECORDS; i++) {
      sends.push(producer.send({ topic: "scraped", key: `k${i % 100}`, value: `value ${i}` }));
    }
    await Promise.all(sends);
    let seen = 0;
    for await (const _record of consumer) {
      seen += 1;
      if (seen === RECORDS) break;
    }
    await consumer.close();
    for (const name of ["records_sent", "records_written", "records_consumed"]) {
      const expression = `sum(streamhouse_${name}_total{topic="scraped"})`;
      const value = await until(
        () => query(expression),
        (v) => v === RECORDS,
      );
      assert.equal(value, RECORDS, name);
    }
    const sendCount = await query(`sum(streamhouse_send_duration_seconds_count)`);
    assert.equal(sendCount, RECORDS);
  });

  it("has a promtool that accepts what the agent answers after the load", async () => {
    const input = await (await fetch(`${server.http}/metrics`)).text();
    assert.match(input, /^streamhouse_records_written_total\{.*\} \d+$/m);
    const checked = spawnSync("promtool", ["check", "metrics"], { input });
    assert.equal(checked.error, undefined);
    assert.deepEqual([checked.status, checked.stderr.toString()], [0, ""]);
  });

  it("saw every scrape succeed", async () => {
    await until(
      () => query('count_over_time(up{job="streamhouse"}[1m])'),
      (count) => count >= 3,
    );
    assert.equal(await query('min_over_time(up{job="streamhouse"}[1m])'), 1);
  });
});
