/**
 * What the instruments say when things fail, over gRPC, with an SDK for the agent and one for the clients: each failed unit of work
 * is counted once, by the process that it concerns, under labels that no client can choose.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { SpanStatusCode } from "@opentelemetry/api";
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { createGrpcTransport } from "../../src/client/grpc-transport.ts";
import { systemClock } from "../../src/core/clock.ts";
import { NO_PRODUCER, RecordBatchBuilder } from "../../src/format/batch-builder.ts";
import { connect } from "../../src/house/connect.ts";
import { Acks } from "../../src/rpc/gen/streamhouse/v1/producer.ts";
import { serve } from "../../src/serve/serve.ts";
import { bootstrap } from "../../src/telemetry/bootstrap.ts";
import { eventually } from "./child.ts";
import { parseMetrics, type Sample, samplesOf, sumOf } from "./metrics-text.ts";
import { temporaryFolder } from "./ways.ts";

const topic = "orders";
const group = "billing";
const good = 3;
const corrupt = 2;
const produceStream = "streamhouse.v1.ProducerService/ProduceStream";

async function batchOf(value: string): Promise<Uint8Array> {
  const builder = new RecordBatchBuilder({ compression: "none", bytesMax: 10_000 });
  const encoded = new TextEncoder().encode(value);
  builder.append({ key: null, value: encoded, headers: [], timestamp: Date.now() });
  return (await builder.seal(NO_PRODUCER)).slice();
}

/** A copy with its last byte changed, which the checksum notices. */
async function corruptBatch(): Promise<Uint8Array> {
  const batch = await batchOf("x");
  batch[batch.length - 1] = (batch.at(-1) ?? 0) ^ 1;
  return batch;
}

/** The status of a call of a method that the agent does not have. */
function callUnknownMethod(address: string): Promise<number | undefined> {
  const client = new Client(address, credentials.createInsecure());
  const same = (bytes: Buffer) => bytes;
  const deadline = Date.now() + 10_000;
  return new Promise((resolve) => {
    const done = (error: ServiceError | null) => {
      client.close();
      resolve(error?.code);
    };
    const path = "/attacker.Service/ChoosesALabel";
    client.makeUnaryRequest(path, same, same, Buffer.alloc(0), { deadline }, done);
  });
}

for (const instruments of ["producer", "meter"] as const) {
  describe(`the required instruments when work fails, by ${instruments}`, () => {
    let spans: readonly ReadableSpan[] = [];
    let ofAgent: readonly Sample[] = [];
    let ofClients: readonly Sample[] = [];
    let atEnd: readonly Sample[] = [];
    let texts: readonly string[] = [];
    let closed: readonly number[] = [];
    let remove: () => Promise<void>;

    before(async () => {
      const folder = await temporaryFolder();
      remove = folder.remove;
      const exporter = new InMemorySpanExporter();
      const agentSdk = bootstrap({
        ...{
          register: false,
          env: {},
          instruments,
          spanProcessors: [new SimpleSpanProcessor(exporter)],
        },
      });
      const clientSdk = bootstrap({ register: false, env: {}, instruments });
      const served = await serve({
        ...{ data: folder.path, grpc: "127.0.0.1:0", http: "127.0.0.1:0", telemetry: agentSdk },
      });
      const house = await connect({ agents: [served.grpc], telemetry: clientSdk });
      const { id: topicId } = await house.admin.createTopic(topic, { partitions: 2 });

      // Frames of our own, so that their number is known: three good ones, two corrupt ones, one for a topic that is not there.
      const transport = createGrpcTransport({ clock: systemClock }, { addresses: [served.grpc] });
      const { api, openProducer } = bound(transport.connection(served.grpc));
      const request = (records: Uint8Array, id = topicId) => ({
        ...{ acks: Acks.ACKS_DURABLE, timeoutMs: 5_000 },
        batches: [{ topic, topicId: id, partition: 0, records }],
      });
      const call = { timeoutMs: 10_000 };
      const channel = openProducer();
      for (let i = 0; i < good; i++) await channel.produce(request(await batchOf("x")), call);
      for (let i = 0; i < corrupt; i++) {
        const sending = channel.produce(request(await corruptBatch()), call);
        await assert.rejects(sending, { code: "CORRUPT_BATCH" });
      }
      const elsewhere = request(await batchOf("x"), "00000000-0000-4000-8000-000000000000");
      await assert.rejects(channel.produce(elsewhere, call), { code: "TOPIC_NOT_FOUND" });
      await assert.rejects(api.produce(request(await corruptBatch()), call), {
        code: "CORRUPT_BATCH",
      });
      await channel.close();
      assert.equal(await callUnknownMethod(served.grpc), 12);

      const producer = house.producer({ deliveryTimeoutMs: 10_000, requestTimeoutMs: 5_000 });
      const nowhere = producer.send({ topic: "attackers-topic", value: "x" });
      await assert.rejects(nowhere, { code: "TOPIC_NOT_FOUND" });
      const beyond = producer.send({ topic, partition: 9, value: "x" });
      await assert.rejects(beyond, { code: "PARTITION_OUT_OF_RANGE" });
      const consumer = house.consumer({
        ...{ group, topics: [topic], autoCommit: false, lagIntervalMs: 100 },
      });
      assert.equal((await consumer.poll(10_000)).length, good);
      await consumer.commit([{ topic, partition: 0, offset: 1 }]);
      await assert.rejects(consumer.poll(1_000, { signal: AbortSignal.abort() }));
      await eventually("both sides to have counted the lag", async () => {
        texts = [
          await (await fetch(`${served.http}/metrics`)).text(),
          (await clientSdk.metrics.collect()).body,
        ];
        [ofAgent, ofClients] = texts.map(parseMetrics) as [readonly Sample[], readonly Sample[]];
        const name = {
          agent: "streamhouse_group_lag_records",
          own: "streamhouse_consumer_lag_records",
        };
        const lags = [samplesOf(ofAgent, name.agent), samplesOf(ofClients, name.own)];
        return lags.every((it) => it.reduce((sum, { value }) => sum + value, 0) === good - 1);
      });
      const connections = async () => {
        const text = await (await fetch(`${served.http}/metrics`)).text();
        return sumOf(parseMetrics(text), "streamhouse_active_connections");
      };
      const before = await connections();
      await transport.close();
      // While there is an agent to leave.
      await consumer.close();
      closed = await eventually("one connection less", async () => {
        const now = await connections();
        return now < before ? [before, now] : undefined;
      });

      await served.stop();
      const lost = producer.send({ topic, value: "nobody is there" });
      await assert.rejects(lost, { code: "DEADLINE_EXCEEDED" });
      atEnd = parseMetrics((await clientSdk.metrics.collect()).body);
      await house.close();
      // The exporter forgets them when it is shut down.
      spans = exporter.getFinishedSpans().filter((it) => it.name === "ProducerService.produce");
      await Promise.all([agentSdk.shutdown(), clientSdk.shutdown()]);
    });

    after(() => remove());

    const requests = (method: string, status: string) =>
      sumOf(ofAgent, "streamhouse_grpc_requests_total", { method, status });

    it("grpc_requests_total: one for each frame of a ProduceStream, by what became of it", () => {
      assert.equal(requests(produceStream, "OK"), good);
      assert.equal(requests(produceStream, "INVALID_ARGUMENT"), corrupt);
      assert.equal(requests(produceStream, "NOT_FOUND"), 1);
    });

    it("grpc_requests_total: failed calls by status, unknown methods under one label", () => {
      assert.equal(requests("streamhouse.v1.ProducerService/Produce", "INVALID_ARGUMENT"), 1);
      assert.equal(requests("_OTHER", "UNIMPLEMENTED"), 1);
    });

    it("grpc_request_duration_seconds: one sample for each of them", () => {
      const name = "streamhouse_grpc_request_duration_seconds_count";
      assert.equal(sumOf(ofAgent, name, { method: produceStream }), good + corrupt + 1);
      assert.equal(sumOf(ofAgent, name, { method: "_OTHER" }), 1);
    });

    it("one span for each frame and call that reached the agent, with our code where it was refused", () => {
      assert.equal(spans.length, good + corrupt + 1 + 1);
      const codes = spans.flatMap((it) => it.attributes["streamhouse.error.code"] ?? []);
      assert.deepEqual(codes.sort(), [
        ...Array(corrupt + 1).fill("CORRUPT_BATCH"),
        "TOPIC_NOT_FOUND",
      ]);
      // By the conventions what a client did wrong is no error of the server.
      const failed = spans.filter((it) => it.status.code === SpanStatusCode.ERROR);
      assert.deepEqual(failed, []);
    });

    it("records_written_total and write_latency_seconds: only what became durable", () => {
      assert.equal(sumOf(ofAgent, "streamhouse_records_written_total", { topic }), good);
      assert.equal(sumOf(ofAgent, "streamhouse_write_latency_seconds_count", { topic }), good);
    });

    it("send_errors_total: each record that failed for good, by error code, also when no agent is left", () => {
      const errors = samplesOf(atEnd, "streamhouse_send_errors_total").map(
        ({ labels, value }) => `${labels.topic} ${labels.error_type} ${value}`,
      );
      assert.deepEqual(errors.sort(), [
        "_OTHER TOPIC_NOT_FOUND 1",
        "orders DEADLINE_EXCEEDED 1",
        "orders PARTITION_OUT_OF_RANGE 1",
      ]);
      assert.equal(sumOf(atEnd, "streamhouse_records_sent_total", { topic }), 0);
      assert.equal(sumOf(atEnd, "streamhouse_pending_records"), 0);
      assert.equal(sumOf(atEnd, "streamhouse_send_duration_seconds_count"), 3);
    });

    it("poll_duration_seconds: a poll that fails has its sample too", () => {
      const name = "streamhouse_poll_duration_seconds_count";
      assert.equal(sumOf(ofClients, name, { group_id: group }), 2);
    });

    it("lag: the agent exports the group's, the consumer's process its own, and neither the other's", () => {
      assert.equal(sumOf(ofAgent, "streamhouse_group_lag_records", { group_id: group }), good - 1);
      assert.ok(sumOf(ofAgent, "streamhouse_group_lag_seconds", { group_id: group }) > 0);
      assert.deepEqual(samplesOf(ofAgent, "streamhouse_consumer_lag_records"), []);
      assert.equal(sumOf(ofClients, "streamhouse_consumer_lag_records", { topic }), good - 1);
      assert.ok(sumOf(ofClients, "streamhouse_consumer_lag_seconds", { topic }) > 0);
      assert.deepEqual(samplesOf(ofClients, "streamhouse_group_lag_records"), []);
    });

    it("active_connections: one less when a client is gone", () => {
      const [before = 0, after = 0] = closed;
      assert.equal(before - after, 1);
      assert.ok(after >= 1, "the other client's");
    });

    it("no label is what a client sent", () => {
      for (const text of texts) assert.doesNotMatch(text, /attacker|ChoosesALabel/);
    });
  });
}

/** The connection's two ends as functions of their own. */
function bound(connection: ReturnType<ReturnType<typeof createGrpcTransport>["connection"]>) {
  return { api: connection.api, openProducer: () => connection.openProducer() };
}
