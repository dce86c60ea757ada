/** Every kind of bad input of the first milestone: the error names the thing and the limit, and nothing is lost or half-written. */
import assert from "node:assert/strict";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { createGrpcTransport } from "../../src/client/grpc-transport.ts";
import type { AgentConnection, Transport } from "../../src/client/transport.ts";
import { systemClock } from "../../src/core/clock.ts";
import { type ErrorCode, StreamHouseError } from "../../src/core/errors.ts";
import { NO_PRODUCER, RecordBatchBuilder } from "../../src/format/batch-builder.ts";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { BatchSendError } from "../../src/producer/send-result.ts";
import { type Served, type ServeOptions, serve } from "../../src/serve/serve.ts";
import { cli, eventually, startAgent } from "./child.ts";
import { temporaryFolder } from "./ways.ts";

/** Checks a rejection's code and that its message has each of the parts. */
async function refused(
  promise: Promise<unknown>,
  code: ErrorCode,
  ...parts: readonly (string | RegExp)[]
): Promise<StreamHouseError> {
  const error = await promise.then(
    () => assert.fail("it was accepted"),
    (reason: unknown) => reason,
  );
  assert.ok(StreamHouseError.is(error), String(error));
  assert.equal(error.code, code, error.message);
  for (const part of parts) {
    const found =
      typeof part === "string" ? error.message.includes(part) : part.test(error.message);
    assert.ok(found, `"${error.message}" does not name ${part}`);
  }
  return error;
}

const serveOn = (data: string, more: Partial<ServeOptions> = {}): Promise<Served> =>
  serve({ data, grpc: "127.0.0.1:0", http: false, telemetry: false, ...more });

describe("bad input to a running agent", () => {
  let served: Served;
  let house: House;
  let transport: Transport;
  let agent: AgentConnection;
  let topicId: string;
  let remove: () => Promise<void>;

  /** A good batch of the values, as a producer makes it. */
  async function batchOf(...values: string[]): Promise<Uint8Array> {
    const builder = new RecordBatchBuilder({ compression: "none", bytesMax: 100_000 });
    for (const value of values) {
      const encoded = new TextEncoder().encode(value);
      builder.append({ key: null, value: encoded, headers: [], timestamp: 1_700_000_000_000 });
    }
    return (await builder.seal(NO_PRODUCER)).slice();
  }

  const produce = (records: Uint8Array, partition = 0) =>
    agent.api.produce(
      { acks: 1, batches: [{ topic: "good", topicId, partition, records }], timeoutMs: 5_000 },
      { timeoutMs: 10_000 },
    );

  const highWatermark = async () => {
    const [offset] = await house.admin.offsets("good", "latest");
    return offset?.offset;
  };

  before(async () => {
    const folder = await temporaryFolder();
    remove = folder.remove;
    served = await serveOn(folder.path, { agent: { retentionCheckMs: 20 } });
    house = await connect({ agents: [served.grpc], telemetry: false });
    topicId = (await house.admin.createTopic("good", { partitions: 1 })).id;
    transport = createGrpcTransport({ clock: systemClock }, { addresses: [served.grpc] });
    agent = transport.connection(served.grpc);
  });

  after(async () => {
    await transport.close();
    await house.close();
    await served.stop();
    await remove();
  });

  it("unknown topic: every client names it", async () => {
    const producer = house.producer();
    await refused(producer.send({ topic: "nowhere", value: "x" }), "TOPIC_NOT_FOUND", "nowhere");
    const consumer = house.consumer({ group: "g", topics: ["nowhere"] });
    await refused(consumer.poll(5_000), "TOPIC_NOT_FOUND", "nowhere");
    await refused(house.admin.describeTopic("nowhere"), "TOPIC_NOT_FOUND", "nowhere");
    await refused(house.admin.deleteTopic("nowhere"), "TOPIC_NOT_FOUND", "nowhere");
    await Promise.all([producer.close(), consumer.close()]);
  });

  it("bad topic name: the rule is named, on the client and at the agent", async () => {
    for (const name of ["", ".", "..", "with space", "ü", "a/b", "x".repeat(250)]) {
      await refused(house.admin.createTopic(name), "INVALID_TOPIC_NAME", "249", "a-z A-Z 0-9");
      const raw = agent.api.createTopic({ name, partitions: 1, retentionMs: 0 }, {});
      await refused(raw, "INVALID_TOPIC_NAME", "249");
    }
    assert.equal((await house.admin.listTopics()).length, 1);
  });

  it("partition out of range: the topic's partitions are named", async () => {
    const producer = house.producer();
    const sending = producer.send({ topic: "good", partition: 1, value: "x" });
    await refused(sending, "PARTITION_OUT_OF_RANGE", "partition 1", "good");
    await refused(produce(await batchOf("x"), 7), "PARTITION_OUT_OF_RANGE", "partition 7", "good");
    await producer.close();
    assert.equal(await highWatermark(), 0);
  });

  it("record over the limit: only that record fails, and the limit is named", async () => {
    await house.admin.createTopic("large");
    const producer = house.producer();
    const records = [{ value: "before" }, { value: "x".repeat(1_048_576) }, { value: "after" }];
    const error = await refused(
      producer.sendBatch({ topic: "large", records }),
      "RECORD_TOO_LARGE",
      "1048576",
    );
    assert.ok(error instanceof BatchSendError);
    assert.equal(error.sent.count, 2);
    assert.deepEqual(error.failed[0]?.indexes, [1]);
    const consumer = house.consumer({ group: "large", topics: ["large"] });
    const values = (await consumer.poll(5_000)).map((record) => record.text());
    assert.deepEqual(values, ["before", "after"]);
    await Promise.all([producer.close(), consumer.close()]);
  });

  it("corrupt batch: one flipped bit anywhere under the checksum is refused, and nothing of it is written", async () => {
    const good = await batchOf("a", "b");
    for (let at = 21; at < good.length; at += 5) {
      const bad = good.slice();
      bad[at] = (bad[at] ?? 0) ^ 0x10;
      await refused(produce(bad), "CORRUPT_BATCH", /checksum|CRC/i);
    }
    assert.equal(await highWatermark(), 0);
  });

  it("truncated batch: refused at every length", async () => {
    const good = await batchOf("a", "b");
    for (let length = 0; length < good.length; length += 3) {
      await refused(produce(good.subarray(0, length)), "CORRUPT_BATCH");
    }
    assert.equal(await highWatermark(), 0);
  });

  it("unsupported magic: the one that is supported is named", async () => {
    const old = await batchOf("a");
    old[16] = 1;
    await refused(produce(old), "UNSUPPORTED_MAGIC", "1", "2");
    assert.equal(await highWatermark(), 0);
  });

  it("unsupported compression: named, with what can be used", async () => {
    for (const [id, name] of [
      [2, "snappy"],
      [3, "lz4"],
    ] as const) {
      const batch = await batchOf("a");
      batch[22] = id;
      await refused(produce(batch), "UNSUPPORTED_COMPRESSION", name, "gzip", "zstd");
    }
    assert.throws(
      () => house.producer({ compression: "lz4" as "gzip" }),
      /lz4.*"none", "gzip", "zstd"/,
    );
  });

  it("offset out of range: an error by the policy error, and what the policy says otherwise", async () => {
    await house.admin.createTopic("short", { retentionMs: 1 });
    const producer = house.producer();
    await producer.sendBatch({ topic: "short", records: [{ value: "0" }, { value: "1" }] });
    await eventually("retention to delete both records", async () => {
      const { partitionList } = await house.admin.describeTopic("short");
      return partitionList[0]?.logStartOffset === 2;
    });
    await house.admin.alterTopic("short", { retentionMs: 0 });
    await producer.send({ topic: "short", value: "2" });
    const assign = [{ topic: "short", partition: 0, offset: 0 }];
    const strict = house.consumer({ assign, offsetReset: "error" });
    await refused(strict.poll(5_000), "OFFSET_OUT_OF_RANGE", "offset 0", "short", "2");
    const lenient = house.consumer({ assign, offsetReset: "earliest" });
    assert.deepEqual(
      (await lenient.poll(5_000)).map((record) => record.offset),
      [2],
    );
    await Promise.all([producer.close(), strict.close(), lenient.close()]);
  });

  it("a consumer callback that throws: its record is not committed and comes again", async () => {
    await house.admin.createTopic("throws");
    const producer = house.producer();
    await producer.sendBatch({
      topic: "throws",
      records: [{ value: "0" }, { value: "1" }, { value: "2" }],
    });
    const first = house.consumer({ group: "throws", topics: ["throws"] });
    const reading = async () => {
      for await (const record of first) {
        await first.process(record, () => {
          if (record.text() === "1") throw new Error("cannot handle 1");
        });
      }
    };
    await assert.rejects(reading(), /cannot handle 1/);
    await first.close();
    const second = house.consumer({ group: "throws", topics: ["throws"] });
    assert.deepEqual(
      (await second.poll(5_000)).map((record) => record.text()),
      ["1", "2"],
    );
    await Promise.all([producer.close(), second.close()]);
  });

  it("after all of it the agent works as before", async () => {
    const result = await produce(await batchOf("good"));
    assert.equal(result.results[0]?.baseOffset, 0);
  });
});

describe("bad input to the start of an agent", () => {
  it("gRPC port in use: the address is named, and the folder is free at once", async () => {
    const folder = await temporaryFolder();
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
    const { port } = blocker.address() as { port: number };
    const address = `127.0.0.1:${port}`;
    await refused(serveOn(folder.path, { grpc: address }), "ADDRESS_IN_USE", address);
    await refused(serveOn(folder.path, { http: address }), "ADDRESS_IN_USE", address);
    await new Promise((resolve) => blocker.close(resolve));
    const served = await serveOn(folder.path, { grpc: address });
    assert.equal(served.grpc, address);
    await served.stop();
    await folder.remove();
  });

  it("data folder in use by another agent: named, with what to do; the other agent is not disturbed", async () => {
    const folder = await temporaryFolder();
    const agent = await startAgent(folder.path);
    await refused(serveOn(folder.path), "DATA_FOLDER_IN_USE", folder.path);
    const { code, stderr } = await cli([
      ...["agent", "--data", folder.path, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"],
    ]);
    assert.equal(code, 1);
    assert.match(stderr, /^streamhouse: data folder .* is in use by another agent.*\n$/);
    const house = await connect({ agents: [agent.grpc], telemetry: false });
    await house.admin.createTopic("undisturbed");
    await house.close();
    await agent.child.end();
    await folder.remove();
  });

  it("data folder of a newer version: both versions are named, and nothing in it is changed", async () => {
    const folder = await temporaryFolder();
    await (await serveOn(folder.path)).stop();
    const path = join(folder.path, "streamhouse.json");
    const newer = (await readFile(path, "utf8")).replace(/"format":\s*\d+/, '"format":99');
    await writeFile(path, newer);
    await refused(serveOn(folder.path), "METADATA_TOO_NEW", "99", folder.path);
    assert.equal(await readFile(path, "utf8"), newer);
    await folder.remove();
  });

  it("unwritable folder: named", async () => {
    const folder = await temporaryFolder();
    const file = join(folder.path, "file");
    await writeFile(file, "not a folder");
    await refused(serveOn(join(file, "data")), "DATA_FOLDER_UNUSABLE", file);
    await refused(serveOn(file), "DATA_FOLDER_UNUSABLE", file);
    // Where nothing can be made, not even by the superuser; making it with its parents must not try for ever.
    if (process.platform === "linux") {
      await refused(serveOn("/proc/streamhouse/data"), "DATA_FOLDER_UNUSABLE", "/proc/streamhouse");
    }
    // The superuser may write everywhere.
    if (process.getuid?.() !== 0) {
      const locked = join(folder.path, "locked");
      await mkdir(locked);
      await chmod(locked, 0o500);
      await refused(serveOn(locked), "DATA_FOLDER_UNUSABLE", locked);
    }
    await folder.remove();
  });

  it("an address that is none: named, and nothing is left behind", async () => {
    const folder = await temporaryFolder();
    await refused(serveOn(folder.path, { grpc: "nowhere" }), "INVALID_ARGUMENT", "nowhere");
    await refused(serveOn(folder.path, { http: "nowhere" }), "INVALID_ARGUMENT", "nowhere");
    await (await serveOn(folder.path)).stop();
    await folder.remove();
  });
});

describe("an agent that cannot be reached", () => {
  it("connect names every address and what was tried", async () => {
    const agents = ["127.0.0.1:1", "127.0.0.1:2"];
    await refused(
      connect({ agents, telemetry: false }),
      "AGENT_UNREACHABLE",
      ...agents,
      /connect/i,
    );
    await refused(connect({ agents: [], telemetry: false }), "INVALID_ARGUMENT", "host:port");
    await refused(connect({ agents: ["nowhere"] }), "INVALID_ARGUMENT", "nowhere");
  });

  it("a producer whose agent went away fails by its deadline, and the error names the last failure", async () => {
    const folder = await temporaryFolder();
    const served = await serveOn(folder.path);
    const house = await connect({ agents: [served.grpc], telemetry: false });
    await house.admin.createTopic("lost");
    const producer = house.producer({ deliveryTimeoutMs: 3_000, requestTimeoutMs: 2_500 });
    await producer.send({ topic: "lost", value: "0" });
    await served.stop();
    const sending = producer.send({ topic: "lost", value: "1" });
    await refused(sending, "DEADLINE_EXCEEDED", "3000", served.grpc);
    await house.close();
    await folder.remove();
  });

  it("the command line says so in one line and exits with 1", async () => {
    for (const args of [
      ["topic", "list"],
      ["produce", "x"],
      ["consume", "x", "--group", "g"],
      ["lag", "g"],
    ]) {
      const { code, stdout, stderr } = await cli([...args, "--agents", "127.0.0.1:1"]);
      assert.deepEqual([code, stdout], [1, ""]);
      assert.match(stderr, /^streamhouse: no agent answered; tried 127\.0\.0\.1:1 .*\n$/);
    }
  });
});
