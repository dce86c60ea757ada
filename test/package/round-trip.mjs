// A user's program in plain JavaScript, for every runtime including the oldest Node: an agent over gRPC and HTTP, a
// producer, a consumer, the metrics. Prints `round trip ok`.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@streamhouse/streamhouse";
import { serve } from "@streamhouse/streamhouse/agent";

const data = await mkdtemp(join(tmpdir(), "streamhouse-round-trip-"));
const server = await serve({ data, grpc: "127.0.0.1:0", http: "127.0.0.1:0" });
const house = await connect({ agents: [server.grpc] });
await house.admin.createTopic("orders", { partitions: 3 });
const producer = house.producer();
const sent = [];
for (let i = 0; i < 100; i++) {
  sent.push(producer.send({ topic: "orders", key: `user-${i % 7}`, value: JSON.stringify({ i }) }));
}
await Promise.all(sent);

const consumer = house.consumer({ group: "billing", topics: ["orders"], offsetReset: "earliest" });
const seen = new Set();
for await (const record of consumer) {
  seen.add(record.json().i);
  if (seen.size === 100) break;
}
const ready = await fetch(`${server.http}/ready`);
const metrics = await fetch(`${server.http}/metrics`);
await metrics.text();
await house.close();
await server.stop();
await rm(data, { recursive: true, force: true });
if (ready.status !== 200) throw new Error(`/ready answered ${ready.status}`);
if (metrics.status !== 200) throw new Error(`/metrics answered ${metrics.status}`);
console.log("round trip ok");
