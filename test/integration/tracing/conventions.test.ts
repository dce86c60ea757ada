/**
 * Every span against OpenTelemetry's conventions: name, kind, required attributes and their types. One table, one workload that makes
 * every kind of span there is; a span that no row describes fails, and so does a row that no span matches.
 *
 * Messaging: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/ (span name, operation types, span kind, attributes)
 * RPC: https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/ and https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { SpanKind } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import { connect } from "../../../src/house/connect.ts";
import { serve } from "../../../src/serve/serve.ts";
import { temporaryFolder } from "../ways.ts";
import { type Recorded, record } from "./harness.ts";

type Type = "string" | "number";

interface Row {
  /** What the span is called. */
  readonly name: RegExp;
  readonly kind: SpanKind;
  /** `messaging.operation.type`, for messaging spans. */
  readonly operation?: "create" | "send" | "receive" | "process" | "settle";
  /** Attributes that it always has, with their types. */
  readonly has: Readonly<Record<string, Type>>;
  /** And those that the conventions forbid on it. */
  readonly hasNot?: readonly string[];
}

const messaging: Readonly<Record<string, Type>> = {
  "messaging.system": "string",
  "messaging.operation.name": "string",
  "messaging.operation.type": "string",
};
/** If the span describes one message, or if the value applies to all messages in the batch. */
const oneTopic = { ...messaging, "messaging.destination.name": "string", topic: "string" } as const;
const onePartition = {
  ...oneTopic,
  "messaging.destination.partition.id": "string",
  partition: "number",
} as const;
const batch = { "messaging.batch.message_count": "number", record_count: "number" } as const;
const group = { "messaging.consumer.group.name": "string" } as const;
const rpc = {
  "rpc.system.name": "string",
  "rpc.method": "string",
  "rpc.response.status_code": "string",
} as const;
const server = { "server.address": "string", "server.port": "number" } as const;
/** Instrumentations should not set the count on spans of single messages. */
const single = ["messaging.batch.message_count"];

const table: Readonly<Record<string, Row>> = {
  "create: one record of a batch that is sent": {
    name: /^create orders$/,
    kind: SpanKind.PRODUCER,
    operation: "create",
    has: { ...oneTopic, value_len: "number" },
    hasNot: single,
  },
  "send: one record, whose creation context it is": {
    name: /^send orders$/,
    kind: SpanKind.PRODUCER,
    operation: "send",
    has: { ...onePartition, value_len: "number", offset: "number" },
    hasNot: single,
  },
  "send: a batch with creation contexts of its own": {
    name: /^send orders$/,
    kind: SpanKind.CLIENT,
    operation: "send",
    has: { ...oneTopic, ...batch },
  },
  "send: the request to an agent": {
    name: /^send_batch_to_agent$/,
    kind: SpanKind.CLIENT,
    operation: "send",
    has: {
      ...messaging,
      ...batch,
      ...server,
      bytes: "number",
      "rpc.response.status_code": "string",
    },
  },
  "receive: a poll": {
    name: /^receive orders$/,
    kind: SpanKind.CLIENT,
    operation: "receive",
    has: { ...oneTopic, ...batch, ...group, timeout_ms: "number" },
  },
  "process: one record": {
    name: /^process orders$/,
    kind: SpanKind.CONSUMER,
    operation: "process",
    has: { ...onePartition, ...group, offset: "number", value_len: "number" },
    hasNot: single,
  },
  "process: several records": {
    name: /^process orders$/,
    kind: SpanKind.CONSUMER,
    operation: "process",
    has: { ...oneTopic, ...group, ...batch },
  },
  "settle: a commit": {
    name: /^commit orders$/,
    kind: SpanKind.CLIENT,
    operation: "settle",
    has: { ...oneTopic, ...group },
  },
  "the agent's side of a request, named by the seed": {
    name: /^ProducerService\.produce$/,
    kind: SpanKind.SERVER,
    has: { ...rpc, record_count: "number", batch_count: "number", bytes: "number" },
  },
  "a call": {
    name: /^streamhouse\.v1\.\w+Service\/\w+$/,
    kind: SpanKind.CLIENT,
    has: { ...rpc, ...server },
  },
  "the agent's side of a call": {
    name: /^streamhouse\.v1\.\w+Service\/\w+$/,
    kind: SpanKind.SERVER,
    has: rpc,
  },
  "a flush": {
    name: /^flush$/,
    kind: SpanKind.INTERNAL,
    has: { batch_count: "number", record_count: "number", bytes: "number" },
  },
  "a write to the store": { name: /^store put$/, kind: SpanKind.CLIENT, has: {} },
  "a commit in metadata": { name: /^metadata commit$/, kind: SpanKind.CLIENT, has: {} },
};

/** Name, kind and the attributes that tell rows of one name apart. */
function describes(row: Row, span: ReadableSpan): boolean {
  const { attributes } = span;
  return (
    row.name.test(span.name) &&
    row.kind === span.kind &&
    row.operation === attributes["messaging.operation.type"] &&
    Object.keys(row.has).every((key) => attributes[key] !== undefined) &&
    (row.hasNot ?? []).every((key) => attributes[key] === undefined)
  );
}

describe("by the conventions", () => {
  let recorded: Recorded;
  let spans: readonly ReadableSpan[] = [];

  before(async () => {
    recorded = record();
    const { book, sdk, under } = recorded;
    const folder = await temporaryFolder();
    const served = await serve({
      data: folder.path,
      grpc: "127.0.0.1:0",
      http: false,
      telemetry: sdk,
    });
    const house = await connect({ agents: [served.grpc], telemetry: sdk });
    await house.admin.createTopic("orders", { partitions: 2 });
    const producer = house.producer({ lingerMs: 0 });
    const consumer = house.consumer({ group: "billing", topics: ["orders"] });
    await under("handler", async () => {
      await producer.send({ topic: "orders", value: "x" });
      await producer.sendBatch({ topic: "orders", records: [{ value: "y" }, { value: "z" }] });
      let seen = 0;
      while (seen < 3) {
        const records = await consumer.poll(10_000);
        for (const one of records) await consumer.process(one, () => {});
        if (records.length > 0) await consumer.process(records, () => {});
        seen += records.length;
      }
      await consumer.commit();
      await consumer.committed("orders", 0);
      await consumer.seekToBeginning();
      await house.admin.describeGroup("billing");
      await house.admin.createTopic("orders").catch(() => {});
      await producer.send({ topic: "orders", value: "x", partition: 7 }).catch(() => {});
    });
    await house.close();
    await served.stop();
    await folder.remove();
    spans = book.ended.filter((it) => it.instrumentationScope.name !== "application");
  });
  after(() => recorded.close());

  for (const [what, row] of Object.entries(table)) {
    it(`${what} is named, of its kind and described`, () => {
      const matching = spans.filter((it) => describes(row, it));
      assert.ok(matching.length > 0, `no span is ${row.name} with ${Object.keys(row.has)}`);
      for (const { attributes } of matching) {
        for (const [key, type] of Object.entries(row.has)) {
          assert.equal(typeof attributes[key], type, key);
        }
      }
    });
  }

  it("there is no span beside those", () => {
    const strangers = spans.filter(
      (span) => !isFailed(span) && !Object.values(table).some((row) => describes(row, span)),
    );
    assert.deepEqual(
      strangers.map((it) => [it.name, it.kind, it.attributes]),
      [],
    );
  });

  it("docs/tracing.md has a row for each, with its kind", () => {
    const text = readFileSync(new URL("../../../docs/tracing.md", import.meta.url), "utf8");
    const rows = Array.from(text.matchAll(/^\| `([^`]+)`[^|]* \| ([A-Z]+) \|/gm), (match) => ({
      name: new RegExp(
        `^${(match[1] ?? "").replace("<topic>", "orders").replace(/<\w+>/g, "\\w+")}$`,
      ),
      kind: SpanKind[match[2] as keyof typeof SpanKind],
    }));
    assert.equal(rows.length, Object.keys(table).length - 1, "two rows of process are one");
    for (const row of rows) {
      const found = spans.some((it) => row.name.test(it.name) && row.kind === it.kind);
      assert.ok(found, `no span is ${row.name}`);
    }
    for (const { name, kind } of spans) {
      assert.ok(
        rows.some((row) => row.name.test(name) && row.kind === kind),
        name,
      );
    }
  });

  it("the name is the operation and, where there is one, the destination", () => {
    for (const { name, attributes } of spans) {
      const operation = attributes["messaging.operation.name"];
      if (operation === undefined || name === "send_batch_to_agent") continue;
      const topic = attributes["messaging.destination.name"];
      assert.equal(name, topic === undefined ? operation : `${operation} ${topic}`);
      assert.equal(attributes["messaging.system"], "streamhouse");
    }
  });

  it("the name of a call is its full method", () => {
    const calls = spans.filter((it) => it.attributes["rpc.method"] !== undefined);
    assert.ok(calls.length > 0);
    for (const { name, attributes } of calls) {
      if (name === "ProducerService.produce") {
        assert.equal(attributes["rpc.method"], "streamhouse.v1.ProducerService/Produce");
      } else assert.equal(name, attributes["rpc.method"]);
      assert.equal(attributes["rpc.system.name"], "grpc");
    }
  });

  it("error.type and an error's status are there exactly where something failed", () => {
    const typeOf = (name: string, kind: SpanKind) =>
      spans.find((it) => it.name === name && it.kind === kind && isFailed(it))?.attributes[
        "error.type"
      ];
    // Ours where we speak of records, the status' name where we speak of calls.
    assert.equal(typeOf("send orders", SpanKind.PRODUCER), "PARTITION_OUT_OF_RANGE");
    const createTopic = "streamhouse.v1.AdminService/CreateTopic";
    assert.equal(typeOf(createTopic, SpanKind.CLIENT), "ALREADY_EXISTS");
    for (const it of spans) {
      assert.equal(it.attributes["error.type"] !== undefined, isFailed(it), it.name);
    }
    const refused = spans.find(
      (it) =>
        it.kind === SpanKind.SERVER && it.attributes["streamhouse.error.code"] === "TOPIC_EXISTS",
    );
    assert.equal(refused?.attributes["rpc.response.status_code"], "ALREADY_EXISTS");
    assert.equal(refused?.status.code, 0, "the caller's mistake is no error of the server");
  });

  it("each tracer says which release of the conventions it follows", () => {
    for (const { instrumentationScope } of spans) {
      assert.match(
        instrumentationScope.schemaUrl ?? "",
        /^https:\/\/opentelemetry\.io\/schemas\/1\./,
      );
    }
  });
});

function isFailed(span: ReadableSpan): boolean {
  return span.status.code === 2;
}
