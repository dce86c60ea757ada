/**
 * One traced run over three processes (agent, producer, consumer), and what every backend must show of it afterwards. Used by the
 * tests that read the spans back from Jaeger and by the one that decodes the bytes of the export.
 */
import assert from "node:assert/strict";
import type { RuntimeName } from "../../scripts/runtimes.ts";
import { scratch } from "../package/packed.ts";
import { type Running, runFile } from "./running.ts";
import { named, reference, type SeenSpan } from "./seen-span.ts";

export interface TracedRun {
  readonly topic: string;
  /** The trace of the application that sent one record alone. */
  readonly single: string;
  /** The traces of the two whose records shared a batch. */
  readonly mixed: readonly string[];
  /** The trace of the one that sent two records at once. */
  readonly bulk: string;
}

export interface TracedRunOptions {
  /** `http://host:port` of an OTLP receiver. */
  readonly otlp: string;
  readonly protocol: "http/json" | "http/protobuf";
  readonly producer: RuntimeName;
  readonly consumer: RuntimeName;
  readonly agent: RuntimeName;
}

/** Names of the services, one for each process. */
export const services = { agent: "the-agent", producer: "the-producer", consumer: "the-consumer" };

/** Runs all three to their end: what they had to export is exported. */
export async function runTraced(options: TracedRunOptions): Promise<TracedRun> {
  const env = (service: string): Record<string, string> => ({
    OTEL_EXPORTER_OTLP_ENDPOINT: options.otlp,
    OTEL_EXPORTER_OTLP_PROTOCOL: options.protocol,
    OTEL_SERVICE_NAME: service,
  });
  const folder = scratch("traced");
  const running: Running[] = [];
  const begin = (...args: Parameters<typeof runFile>) => {
    const child = runFile(...args);
    running.push(child);
    return child;
  };
  try {
    const data = ["--data", folder.path, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    const agent = begin(options.agent, "src/cli.ts", ["agent", ...data], env(services.agent));
    const { grpc } = await agent.says<{ readonly grpc: string }>();
    const topic = "traced";
    const programs = "test/peers/programs";
    const sent = await begin(
      options.producer,
      `${programs}/traced-producer.ts`,
      [grpc, topic],
      env(services.producer),
    ).result<Omit<TracedRun, "topic">>();
    const read = await begin(
      options.consumer,
      `${programs}/traced-consumer.ts`,
      [grpc, topic, "readers"],
      env(services.consumer),
    ).result<{ readonly values: readonly string[] }>();
    assert.deepEqual(read.values, ["one", "two", "three", "four", "five"]);
    return { topic, ...sent };
  } finally {
    for (const child of running.reverse()) await child.end();
    folder.remove();
  }
}

/** Whether all of a record's own trace has arrived. */
export function isComplete(trace: readonly SeenSpan[]): boolean {
  return trace.some(({ name }) => name === "metadata commit") && trace.length >= 7;
}

/** The tree from the application's own span to the object store, over two processes. */
export function checkTree(trace: readonly SeenSpan[], { topic }: TracedRun): void {
  const expected = [
    ["checkout", "internal", services.producer, undefined],
    [`send ${topic}`, "producer", services.producer, "checkout"],
    ["send_batch_to_agent", "client", services.producer, `send ${topic}`],
    ["ProducerService.produce", "server", services.agent, "send_batch_to_agent"],
    ["flush", "internal", services.agent, "ProducerService.produce"],
    ["store put", "client", services.agent, "flush"],
    ["metadata commit", "client", services.agent, "flush"],
  ] as const;
  for (const [name, kind, service, parent] of expected) {
    const span = named(trace, name);
    const above = parent === undefined ? undefined : reference(named(trace, parent));
    assert.deepEqual([name, span.kind, span.service], [name, kind, service]);
    assert.deepEqual(span.parent, above, `the parent of ${name} is ${parent}`);
    assert.deepEqual(span.links, [], `${name} has one origin: no links`);
  }
}

export function checkAttributes(trace: readonly SeenSpan[], { topic }: TracedRun): void {
  const has = (name: string, expected: SeenSpan["attributes"]) => {
    const { attributes } = named(trace, name);
    const found = Object.keys(expected).map((key) => [key, attributes[key]]);
    assert.deepEqual(Object.fromEntries(found), expected, name);
  };
  const messaging = {
    "messaging.system": "streamhouse",
    "messaging.destination.name": topic,
    topic,
  };
  has(`send ${topic}`, { ...messaging, "messaging.operation.type": "send", value_len: 3 });
  has("send_batch_to_agent", { "messaging.system": "streamhouse", record_count: 1 });
  has("ProducerService.produce", { "rpc.system.name": "grpc", record_count: 1, batch_count: 1 });
  has("flush", { batch_count: 1, record_count: 1 });
  const { "server.address": address, "server.port": port } = named(
    trace,
    "send_batch_to_agent",
  ).attributes;
  assert.equal(address, "127.0.0.1");
  assert.ok(Number(port) > 0, `server.port is ${port}`);
}

/** A batch of two traces belongs to neither: its spans are linked to both. */
export function checkMixedBatch(batches: readonly SeenSpan[], sends: readonly SeenSpan[]): void {
  const ofBoth = batches.filter(({ links }) => links.length > 0);
  assert.equal(ofBoth.length, 1, `batches: ${JSON.stringify(batches)}`);
  assert.equal(ofBoth[0]?.parent, undefined);
  assert.equal(ofBoth[0]?.attributes.record_count, 2);
  assert.deepEqual(sorted(ofBoth[0]?.links ?? []), sorted(sends));
  assert.equal(sends.length, 2);
}

/** `sendBatch()`: a `create` for each record, and one `send` that is linked to them. */
export function checkBulk(trace: readonly SeenSpan[], { topic }: TracedRun): void {
  const application = reference(named(trace, "import"));
  const created = trace.filter(({ name }) => name === `create ${topic}`);
  assert.deepEqual(
    created.map(({ kind, parent }) => ({ kind, parent })),
    [1, 2].map(() => ({ kind: "producer", parent: application })),
  );
  const send = named(trace, `send ${topic}`);
  assert.deepEqual([send.kind, send.parent], ["client", application]);
  assert.deepEqual(sorted(send.links), sorted(created));
  assert.equal(named(trace, "send_batch_to_agent").attributes.record_count, 2);
}

/** What created a record: its own `send`, or its `create` where it was sent with others. */
export function creationsIn(spans: readonly SeenSpan[], { topic }: TracedRun): readonly SeenSpan[] {
  const names = [`send ${topic}`, `create ${topic}`];
  return spans.filter(({ name, kind }) => names.includes(name) && kind === "producer");
}

/** Reading is linked to what created the records, says that the partition was assigned, and committing is under its span. */
export function checkConsumer(
  received: readonly SeenSpan[],
  settling: readonly SeenSpan[],
  created: readonly SeenSpan[],
  { topic }: TracedRun,
): void {
  assert.ok(received.every(({ kind }) => kind === "client"));
  assert.deepEqual(sorted(received.flatMap(({ links }) => links)), sorted(created));
  assert.ok(
    received.some(({ events }) => events.includes("rebalance")),
    `events: ${JSON.stringify(received.map(({ events }) => events))}`,
  );
  const commit = named(settling, `commit ${topic}`);
  assert.deepEqual([commit.kind, commit.service], ["client", services.consumer]);
  assert.deepEqual(commit.parent, reference(named(settling, "settling")));
  assert.equal(commit.attributes["messaging.operation.type"], "settle");
  const call = "streamhouse.v1.GroupService/CommitOffsets";
  const asked = named(ofKind(settling, "client"), call);
  const answered = named(ofKind(settling, "server"), call);
  assert.deepEqual([asked.service, asked.parent], [services.consumer, reference(commit)]);
  assert.deepEqual([answered.service, answered.parent], [services.agent, reference(asked)]);
}

function ofKind(spans: readonly SeenSpan[], wanted: string): readonly SeenSpan[] {
  return spans.filter(({ kind }) => kind === wanted);
}

/**
 * Each record's `process` span is linked to the span that created the record. The consumer has no span of its own active, so that it
 * is also the parent: the record's trace goes on.
 */
export function checkProcessed(processed: readonly SeenSpan[], created: readonly SeenSpan[]): void {
  assert.equal(processed.length, 5);
  assert.deepEqual(sorted(processed.flatMap(({ links }) => links)), sorted(created));
  for (const span of processed) {
    assert.deepEqual([span.kind, span.service], ["consumer", services.consumer]);
    assert.equal(span.attributes["messaging.operation.type"], "process");
    assert.equal(span.attributes["messaging.consumer.group.name"], "readers");
    assert.equal(span.links.length, 1);
    assert.deepEqual(span.parent, span.links[0]);
  }
  const offsets = processed.map(({ attributes }) => attributes.offset);
  assert.deepEqual(offsets.sort(), [0, 1, 2, 3, 4]);
}

function sorted(spans: readonly { traceId: string; spanId: string }[]): readonly string[] {
  return spans.map(({ traceId, spanId }) => `${traceId}/${spanId}`).sort();
}
