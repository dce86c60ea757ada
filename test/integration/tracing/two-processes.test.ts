/**
 * One trace over two processes and real gRPC: an application here, an agent in a process of its own, both exporting over OTLP/HTTP to a
 * receiver that decodes by itself, one in JSON and one in protobuf.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { connect } from "../../../src/house/connect.ts";
import type { House } from "../../../src/house/house.ts";
import { bootstrap, type TelemetrySdk } from "../../../src/telemetry/bootstrap.ts";
import { Child, eventually, root } from "../child.ts";
import { temporaryFolder } from "../ways.ts";
import { OtlpReceiver, type ReceivedSpan } from "./otlp-receiver.ts";

const KIND = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 };

describe("one trace over two processes", () => {
  const receiver = new OtlpReceiver();
  let sdk: TelemetrySdk;
  let child: Child;
  let house: House;
  let removeFolder: () => Promise<void>;
  let traceId = "";
  let checkoutId = "";

  const find = (name: string) =>
    receiver.spans.find((it) => it.name === name && it.traceId === traceId);
  const span = (name: string): ReceivedSpan => {
    const found = find(name);
    const names = receiver.spans.map((it) => `${it.service}:${it.name}`).join(", ");
    assert.ok(found, `no span ${name} of the trace; received: ${names}`);
    return found;
  };

  before(async () => {
    await receiver.listen();
    const folder = await temporaryFolder();
    removeFolder = folder.remove;
    const ready = /^\{.*\}$/m;
    const args = ["agent", "--data", folder.path, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    child = new Child(`${root}src/cli.ts`, args, {
      env: {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
        OTEL_SERVICE_NAME: "the-agent",
        OTEL_BSP_SCHEDULE_DELAY: "50",
      },
    });
    child.process.stdin.end();
    const line = await child.says("the agent to serve", (out) => ready.exec(out)?.[0]);
    sdk = bootstrap({
      env: {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_BSP_SCHEDULE_DELAY: "50",
      },
      serviceName: "the-application",
    });
    house = await connect({ agents: [JSON.parse(line).grpc], telemetry: sdk });
    const tracer = sdk.tracerProvider.getTracer("application");
    await tracer.startActiveSpan("checkout", async (checkout) => {
      ({ traceId, spanId: checkoutId } = checkout.spanContext());
      await house.admin.createTopic("orders");
      await house.producer().send({ topic: "orders", value: "twelve bytes" });
      checkout.end();
    });
    const consumer = house.consumer({ group: "billing", topics: ["orders"], autoCommit: false });
    const records = await consumer.poll(30_000);
    assert.equal(records.length, 1);
    await consumer.process(records, () => {});
    await consumer.commit();
    const expected: readonly (readonly [string, string])[] = [
      ["the-agent", "metadata commit"],
      ["the-agent", "ProducerService.produce"],
      ["the-agent", "streamhouse.v1.AdminService/CreateTopic"],
      ["the-agent", "streamhouse.v1.GroupService/CommitOffsets"],
      ["the-application", "receive orders"],
      ["the-application", "process orders"],
      ["the-application", "commit orders"],
    ];
    for (const [service, name] of expected) {
      await eventually(`${name} of ${service}`, () =>
        receiver.spans.find((it) => it.service === service && it.name === name),
      );
    }
  });

  after(async () => {
    await house?.close();
    await sdk?.shutdown();
    await child?.end();
    await receiver.close();
    await removeFolder();
  });

  it("is received in both encodings, from both services", () => {
    const encodings = ["application/json", "application/x-protobuf"];
    assert.deepEqual([...receiver.encodings].sort(), encodings);
    assert.equal(span("send orders").service, "the-application");
    assert.equal(span("flush").service, "the-agent");
    assert.equal(span("flush").scope, "@streamhouse/streamhouse");
  });

  it("goes from the application's span down to the store and to metadata", () => {
    const chain: readonly (readonly [string, string, number])[] = [
      ["send orders", checkoutId, KIND.producer],
      ["send_batch_to_agent", span("send orders").spanId, KIND.client],
      ["ProducerService.produce", span("send_batch_to_agent").spanId, KIND.server],
      ["flush", span("ProducerService.produce").spanId, KIND.internal],
      ["store put", span("flush").spanId, KIND.client],
      ["metadata commit", span("flush").spanId, KIND.client],
    ];
    for (const [name, parent, kind] of chain) {
      assert.equal(span(name).parentSpanId, parent, name);
      assert.equal(span(name).kind, kind, name);
      assert.equal(span(name).status, 0, name);
    }
  });

  it("says topic, partition, sizes and counts in the seed's fields", () => {
    const send = span("send orders").attributes;
    assert.deepEqual([send.topic, send.partition, send.value_len], ["orders", 0, 12]);
    assert.equal(span("send_batch_to_agent").attributes.record_count, 1);
    assert.equal(span("ProducerService.produce").attributes.record_count, 1);
  });

  it("pairs a call's client span with the agent's server span", () => {
    const method = "streamhouse.v1.AdminService/CreateTopic";
    const [client, server] = ["the-application", "the-agent"].map((service) =>
      receiver.spans.find((it) => it.name === method && it.service === service),
    );
    assert.equal(client?.parentSpanId, checkoutId);
    assert.equal(server?.parentSpanId, client?.spanId);
    assert.deepEqual([client?.kind, server?.kind], [KIND.client, KIND.server]);
    for (const it of [client, server]) {
      assert.equal(it?.attributes["rpc.response.status_code"], "OK");
      assert.equal(it?.attributes["rpc.method"], method);
    }
  });

  it("goes on at the consumer: received and processed with a link to what created the record", () => {
    const created = span("send orders").spanId;
    const receive = receiver.spans.find((it) => it.name === "receive orders");
    assert.equal(receive?.attributes.timeout_ms, 30_000);
    for (const it of [receive, span("process orders")]) {
      assert.deepEqual(it?.links, [{ traceId, spanId: created }], it?.name);
    }
    assert.equal(span("process orders").parentSpanId, created, "nothing else was active");
  });

  it("settles in the agent", () => {
    const commit = receiver.spans.find((it) => it.name === "commit orders");
    const all = receiver.spans.filter((it) => it.name.endsWith("/CommitOffsets"));
    const client = all.find((it) => it.service === "the-application");
    const server = all.find((it) => it.service === "the-agent");
    assert.equal(client?.parentSpanId, commit?.spanId);
    assert.equal(server?.parentSpanId, client?.spanId);
    assert.equal(commit?.attributes["messaging.operation.type"], "settle");
  });

  it("has no spans of heartbeats and waiting fetches", () => {
    const noise = receiver.spans.filter((it) => /Heartbeat|Fetch$/.test(it.name));
    assert.deepEqual(noise, []);
  });
});
