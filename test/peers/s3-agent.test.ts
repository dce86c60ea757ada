/**
 * An agent that writes and one that reads, over one bucket of a real S3 server that fails again and again: what was acknowledged is there,
 * once and in order, and the telemetry has counted every attempt rightly.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Radosgw, startRadosgw } from "../../scripts/backends/radosgw.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createSqliteMetadata } from "../../src/metadata/sqlite.ts";
import { embed } from "../../src/serve/embed.ts";
import { createS3Store } from "../../src/storage/s3.ts";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import { isHistogram, type MetricRegistry } from "../../src/telemetry/cells.ts";
import { discrepancies } from "../fault/telemetry/audit-reading.ts";
import { type HttpFault, type S3Proxy, startS3Proxy } from "./s3-proxy.ts";

let server: Radosgw;
let proxy: S3Proxy;
before(async () => {
  server = await startRadosgw();
  proxy = await startS3Proxy(server.endpoint);
});
after(async () => {
  await proxy[Symbol.asyncDispose]();
  await server.stop();
});

const PUT_FAULTS: readonly HttpFault[] = [
  { status: 503, code: "SlowDown" },
  "lose",
  { status: 500, code: "InternalError" },
  "cut-request",
  { status: 409, code: "ConditionalRequestConflict" },
  "hang",
  { delayMs: 1_500 },
  "damage",
];

function read(metrics: MetricRegistry, name: string): Map<string, number> {
  const values = new Map<string, number>();
  for (const { descriptor, series } of metrics.collect()) {
    if (descriptor.name !== name) continue;
    for (const { attributes, cell } of series.values()) {
      if (!isHistogram(cell)) values.set(Object.values(attributes).join(" "), cell.value);
    }
  }
  return values;
}

describe("agents over a bucket whose service fails", () => {
  it("lose, duplicate and reorder nothing, and count what they did", async () => {
    const { bucket, region } = server;
    const metadata = createSqliteMetadata({ path: ":memory:", clock: systemClock });
    const open = () =>
      createS3Store({}, { bucket, region, endpoint: proxy.endpoint, credentials: server });
    const stores = [open(), open()] as const;
    const start = (store: (typeof stores)[number]) =>
      embed({ store, metadata, telemetry: {}, agent: { flushAgeMs: 20, tailCacheBytesMax: 1 } });
    const first = await start(stores[0]);
    await first.admin.createTopic("orders", { partitions: 1 });
    const producer = first.producer({ lingerMs: 0 });
    await producer.send({ topic: "orders", value: "0" });
    const sent = [0];
    for (const [round, fault] of PUT_FAULTS.entries()) {
      proxy.plan(/^PUT .*\/segments\//, fault);
      if (round % 2 === 0) proxy.plan(/^GET .*\/segments\//, "cut-answer", "lose");
      for (let i = 0; i < 5; i++) {
        sent.push(sent.length);
        await producer.send({ topic: "orders", value: String(sent.length - 1) });
      }
    }
    await producer.close();
    // Only now: embedded agents have no address under which clients of the other could follow a partition.
    const second = await start(stores[1]);
    const houses = [first, second];
    const consumer = second.consumer({
      group: "readers",
      topics: ["orders"],
      offsetReset: "earliest",
    });
    const seen: number[] = [];
    for await (const record of consumer) {
      seen.push(Number(record.text()));
      if (seen.length === sent.length) break;
    }
    await consumer.close();
    assert.deepEqual(seen, sent);

    const all = houses.map(({ agent }) => agent.telemetry.metrics);
    const retries = new Map(all.flatMap((it) => [...read(it, catalogue.storeRetries.name)]));
    assert.ok((retries.get("put STORE_UNAVAILABLE") ?? 0) >= 5, JSON.stringify([...retries]));
    const hedges = all.map((it) => read(it, catalogue.storeHedges.name).get("second") ?? 0);
    assert.ok(Math.max(...hedges) >= 1, JSON.stringify(hedges));
    for (const metrics of all) {
      const audit = discrepancies(metrics);
      assert.ok(audit.size > 0);
      for (const [law, off] of audit) assert.equal(off, 0, law);
    }
    for (const house of houses) await house.close();
    for (const store of stores) await store.close();
    await metadata.close();
  });
});
