/** The gRPC server in front of an agent, over real connections on 127.0.0.1. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { after, before, describe, it } from "node:test";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { createChannel, createClient, Status } from "nice-grpc";
import { createGrpcServer } from "../../../src/agent/server.ts";
import { agentMethods } from "../../../src/client/agent-methods.ts";
import { createGrpcTransport } from "../../../src/client/grpc-transport.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { type ErrorCode, StreamHouseError } from "../../../src/core/errors.ts";
import { limits } from "../../../src/core/limits.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import type { CallContext } from "../../../src/rpc/agent-api.ts";
import { descriptorSet } from "../../../src/rpc/descriptor-set.ts";
import { AdminServiceDefinition } from "../../../src/rpc/gen/streamhouse/v1/admin.ts";
import { FetchRequest } from "../../../src/rpc/gen/streamhouse/v1/consumer.ts";
import { ErrorDetail } from "../../../src/rpc/gen/streamhouse/v1/error.ts";
import type { BatchResult } from "../../../src/rpc/gen/streamhouse/v1/producer.ts";
import { type MessageType, services } from "../../../src/rpc/methods.ts";
import {
  batch,
  countingTelemetry,
  failureOf,
  fakeAgent,
  produceRequest,
  type Rig,
  rig,
  until,
} from "../rpc/fake-agent.ts";

const plain = { timeoutMs: 10_000 };
const identity = (bytes: Buffer) => bytes;

/** A call of bytes, as any gRPC client makes it. */
function rawCall(
  address: string,
  path: string,
  body: Uint8Array,
): Promise<{ error: ServiceError | null; answer: Buffer | undefined }> {
  const client = new Client(address, credentials.createInsecure(), {
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
  });
  return new Promise((resolve) => {
    const deadline = Date.now() + 10_000;
    client.makeUnaryRequest(
      path,
      identity,
      identity,
      Buffer.from(body),
      { deadline },
      (error, answer) => {
        client.close();
        resolve({ error, answer });
      },
    );
  });
}

/** Closed while anybody may call. */
function isAboutKeys(method: string): boolean {
  return /Keys?$/.test(method);
}

describe("the gRPC server", () => {
  let it_: Rig;
  before(async () => {
    it_ = await rig();
  });
  after(() => it_.stop());

  it("carries every method of the agent", async () => {
    for (const name of agentMethods.filter((it) => !isAboutKeys(it))) {
      type Method = (request: object, call: CallContext) => Promise<unknown>;
      const method = services
        .map((service) => service.methods[name])
        .find((it) => it !== undefined);
      const request =
        (method?.requestType as MessageType<object> | undefined)?.fromPartial({}) ?? {};
      await (it_.connection.api[name] as unknown as Method)(request, plain);
      const last = it_.seen.at(-1);
      assert.equal(last?.name, name);
      assert.deepEqual(last?.request, request);
    }
    const { api } = it_.connection;
    const refused = { code: "NOT_SUPPORTED" };
    await assert.rejects(api.createKey({ name: "a", rights: [], lifeMs: 0 }, plain), refused);
    await assert.rejects(api.listKeys({}, plain), refused);
    await assert.rejects(api.revokeKey({ keyId: "a" }, plain), refused);
    await until("counted", () => Object.keys(it_.requests()).length >= agentMethods.length);
    for (const service of services) {
      for (const method of Object.values(service.methods)) {
        if (method.requestStream) continue;
        const status = isAboutKeys(method.name) ? "UNIMPLEMENTED" : "OK";
        assert.equal(
          it_.requests()[`${service.fullName}/${method.name} ${status}`],
          1,
          method.name,
        );
      }
    }
  });

  it("hands trace context over", async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await it_.connection.api.listTopics({}, { ...plain, traceparent, tracestate: "a=b" });
    assert.equal(it_.seen.at(-1)?.call.traceparent, traceparent);
    assert.equal(it_.seen.at(-1)?.call.tracestate, "a=b");
    const channel = it_.connection.openProducer();
    await channel.produce(produceRequest(batch(0, 9)), {
      ...plain,
      traceparent,
      tracestate: "a=b",
    });
    assert.equal(it_.seen.at(-1)?.call.traceparent, traceparent);
    assert.equal(it_.seen.at(-1)?.call.tracestate, "a=b");
    await channel.close();
  });

  it("answers a stock nice-grpc client made from the generated code", async () => {
    const channel = createChannel(it_.address);
    const client = createClient(AdminServiceDefinition, channel);
    assert.deepEqual(await client.listTopics({}), { topics: [] });
    channel.close();
  });

  it("counts methods that it does not have, under one label", async () => {
    for (const path of ["/streamhouse.v1.AdminService/Nope", "/other.Service/Call"]) {
      const { error } = await rawCall(it_.address, path, new Uint8Array());
      assert.equal(error?.code, Status.UNIMPLEMENTED);
    }
    await until("counted", () => it_.requests()["_OTHER UNIMPLEMENTED"] === 2);
  });

  it("answers bytes that are no message with INVALID_ARGUMENT and a reason", async () => {
    const bytes = Uint8Array.of(0x0a, 0xff, 0xff);
    const path = "/streamhouse.v1.AdminService/CreateTopic";
    const { error } = await rawCall(it_.address, path, bytes);
    assert.equal(error?.code, Status.INVALID_ARGUMENT);
    assert.match(error?.details ?? "", /not the protobuf message/);
    const name = "streamhouse.v1.AdminService/CreateTopic INVALID_ARGUMENT";
    await until("counted", () => it_.requests()[name] === 1);
  });

  it("refuses a message over the limit with RESOURCE_EXHAUSTED, and lives on", async () => {
    const path = "/streamhouse.v1.ProducerService/Produce";
    const { error } = await rawCall(it_.address, path, new Uint8Array(limits.messageBytesMax + 1));
    assert.equal(error?.code, Status.RESOURCE_EXHAUSTED);
    const name = "streamhouse.v1.ProducerService/Produce RESOURCE_EXHAUSTED";
    await until("counted", () => it_.requests()[name] === 1);
    await it_.connection.api.listTopics({}, plain);
  });

  it("says SERVING for itself and each service, and NOT_FOUND for others", async () => {
    const path = "/grpc.health.v1.Health/Check";
    for (const name of ["", ...services.map((service) => service.fullName)]) {
      const body =
        name === "" ? Buffer.alloc(0) : Buffer.from([10, name.length, ...Buffer.from(name)]);
      const { answer } = await rawCall(it_.address, path, body);
      assert.deepEqual([...(answer ?? [])], [8, 1], name);
    }
    const { error } = await rawCall(it_.address, path, Buffer.from([10, 1, 120]));
    assert.equal(error?.code, Status.NOT_FOUND);
  });

  it("answers reflection, in the version of today and the one before", async () => {
    for (const version of ["v1", "v1alpha"]) {
      const client = new Client(it_.address, credentials.createInsecure());
      const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
      const call = client.makeBidiStreamRequest(path, identity, identity);
      const answers: Buffer[] = [];
      call.on("data", (answer: Buffer) => answers.push(answer));
      const ended = new Promise((resolve, reject) => call.on("end", resolve).on("error", reject));
      const symbol = "streamhouse.v1.ProducerService";
      call.write(Buffer.from([58, 0])); // list_services = ""
      call.write(Buffer.from([34, symbol.length, ...Buffer.from(symbol)])); // file_containing_symbol
      call.end();
      await ended;
      client.close();
      assert.equal(answers.length, 2);
      const listed = answers[0]?.toString("latin1") ?? "";
      for (const { fullName } of services) assert.ok(listed.includes(fullName), fullName);
      const file = answers[1]?.toString("latin1") ?? "";
      assert.ok(file.includes("streamhouse/v1/producer.proto"));
      const set = Buffer.from(descriptorSet()).toString("latin1");
      assert.ok(set.includes("ProduceStreamRequest") && file.includes("ProduceStreamRequest"));
    }
  });

  it("counts open connections", async () => {
    const own = await rig();
    assert.equal(own.connections(), 0);
    await own.connection.api.listTopics({}, plain);
    assert.equal(own.connections(), 1);
    const second = createGrpcTransport({ clock: systemClock }, { addresses: [own.address] });
    await second.connection(own.address).api.listTopics({}, plain);
    assert.equal(own.connections(), 2);
    await second.close();
    await until("closed", () => own.connections() === 1);
    await own.stop();
    assert.equal(own.connections(), 0);
  });
});

describe("errors of the agent", () => {
  const codes: readonly ErrorCode[] = [
    ...["INVALID_ARGUMENT", "INVALID_TOPIC_NAME", "TOPIC_NOT_FOUND", "TOPIC_EXISTS"],
    ...["PARTITION_OUT_OF_RANGE", "RECORD_TOO_LARGE", "REQUEST_TOO_LARGE", "BATCH_TOO_LARGE"],
    ...["CORRUPT_BATCH", "UNSUPPORTED_MAGIC", "UNSUPPORTED_COMPRESSION", "UNSUPPORTED_ATTRIBUTES"],
    ...["TIMESTAMP_OUT_OF_BOUNDS", "OFFSET_OUT_OF_RANGE", "SEQUENCE_GAP", "PRODUCER_FENCED"],
    ...["UNKNOWN_PRODUCER", "NOT_LEASE_HOLDER", "LEASE_LOST", "GROUP_FENCED", "UNKNOWN_MEMBER"],
    ...["GROUP_BUSY", "OVERLOADED", "AGENT_UNREACHABLE", "AGENT_DRAINING", "STORE_UNAVAILABLE"],
    ...["STORE_FULL", "OBJECT_NOT_FOUND", "OBJECT_EXISTS", "CORRUPT_SEGMENT"],
    ...["METADATA_UNAVAILABLE", "METADATA_TOO_NEW", "DATA_FOLDER_IN_USE", "DATA_FOLDER_UNUSABLE"],
    ...["ADDRESS_IN_USE", "DEADLINE_EXCEEDED", "ABORTED", "CLOSED", "NOT_SUPPORTED"],
    ...["SCHEMA_MISMATCH", "INTERNAL"],
  ] as ErrorCode[];

  it("reach the caller whole: every code, over calls and frames", async () => {
    let next = new StreamHouseError({ code: "INTERNAL", kind: "internal", message: "?" });
    const refuse = async () => {
      throw next;
    };
    const it_ = await rig({ heartbeat: refuse, produce: refuse });
    const channel = it_.connection.openProducer();
    for (const code of codes) {
      const [field, holderAddress, retryAfterMs] = ["batches[0].records", "10.0.0.1:7070", 120];
      const message = `it failed: größer als ${code} 100 %`;
      next = new StreamHouseError({
        ...{ code, kind: "unavailable", retriable: false, outcome: "unknown" },
        ...{ message, field, holderAddress, retryAfterMs },
      });
      const beat = { group: "g", memberId: "", memberEpoch: 0, topics: [], owned: [] };
      const timeouts = { sessionTimeoutMs: 0, rebalanceTimeoutMs: 0 };
      const request = { ...beat, ...timeouts, clientId: "", instanceId: "" };
      for (const call of [
        it_.connection.api.heartbeat(request, plain),
        channel.produce(produceRequest(batch(0, 1)), plain),
      ]) {
        const error = await failureOf(call);
        assert.deepEqual({ ...error }, { ...next });
        assert.equal(error.message, message);
      }
    }
    await channel.close();
    await it_.stop();
  });

  it("that are no StreamHouseError become INTERNAL, and are logged", async () => {
    const it_ = await rig({
      listTopics: async () => {
        throw new TypeError("undefined is not a function");
      },
    });
    const error = await failureOf(it_.connection.api.listTopics({}, plain));
    assert.equal(error.code, "INTERNAL");
    assert.match(error.message, /listTopics failed: undefined is not a function/);
    await it_.stop();
  });

  it("of every batch fail a Produce call; of some they do not", async () => {
    const failed = (code: string, outcomeUnknown: boolean) => ({
      ...{ topicId: "", partition: 0, baseOffset: -1, appendTimeMs: 0, duplicate: false },
      error: ErrorDetail.fromPartial({ code, kind: "unavailable", message: code, outcomeUnknown }),
    });
    const fine: BatchResult = { ...failed("", false), error: undefined };
    let results: BatchResult[] = [failed("OVERLOADED", false), failed("STORE_UNAVAILABLE", true)];
    const it_ = await rig({ produce: async () => ({ results }) });
    const { api } = it_.connection;
    const error = await failureOf(api.produce(produceRequest(batch(0, 1)), plain));
    assert.equal(error.code, "OVERLOADED");
    assert.equal(error.outcome, "unknown");
    const channel = it_.connection.openProducer();
    const answer = await channel.produce(produceRequest(batch(0, 1)), plain);
    assert.deepEqual(
      answer.results.map((it) => it.error?.code),
      ["OVERLOADED", "STORE_UNAVAILABLE"],
    );
    results = [failed("OVERLOADED", false), fine];
    assert.equal((await api.produce(produceRequest(batch(0, 1)), plain)).results.length, 2);
    const counts = it_.requests();
    assert.equal(counts["streamhouse.v1.ProducerService/ProduceStream RESOURCE_EXHAUSTED"], 1);
    assert.equal(counts["streamhouse.v1.ProducerService/Produce RESOURCE_EXHAUSTED"], 1);
    await channel.close();
    await it_.stop();
  });
});

describe("the address of the gRPC server", () => {
  const make = (address: string) =>
    createGrpcServer(
      {
        ...{ api: fakeAgent().api, telemetry: countingTelemetry() },
        ...{ logger: silentLogger, clock: systemClock },
      },
      { address },
    );

  it("is refused when another agent listens there, naming it and what to do", async () => {
    const first = make("127.0.0.1:0");
    const address = await first.start();
    const second = make(address);
    const error = await failureOf(second.start());
    assert.equal(error.code, "ADDRESS_IN_USE");
    assert.match(error.message, new RegExp(address.replaceAll(".", "\\.")));
    assert.match(error.message, /another port/);
    await second.stop();
    await first.stop();
    const third = make(address);
    assert.equal(await third.start(), address);
    await third.stop();
  });

  it("is refused when anything else listens there", async () => {
    const other = createServer();
    const port = await new Promise<number>((resolve) =>
      other.listen(0, "127.0.0.1", () => resolve((other.address() as { port: number }).port)),
    );
    assert.equal((await failureOf(make(`127.0.0.1:${port}`).start())).code, "ADDRESS_IN_USE");
    assert.equal((await failureOf(make(`localhost:${port}`).start())).code, "ADDRESS_IN_USE");
    await new Promise((resolve) => other.close(resolve));
  });

  it("is refused when it is not of this machine or no address", async () => {
    for (const address of ["203.0.113.7:0", "no-such-host.invalid:0"]) {
      const error = await failureOf(make(address).start());
      assert.equal(error.code, "INVALID_ARGUMENT");
      assert.equal(error.field, "address");
    }
    for (const address of [
      "7070",
      "localhost",
      "localhost:99999",
      "http://localhost:1",
      "::1:7070",
    ]) {
      assert.throws(() => make(address), { code: "INVALID_ARGUMENT", field: "address" });
    }
  });

  it("may be a name", async () => {
    const server = make("localhost:0");
    assert.match(await server.start(), /^localhost:\d+$/);
    await server.stop();
  });

  it("cannot be taken after stop", async () => {
    const server = make("127.0.0.1:0");
    await server.stop();
    assert.equal((await failureOf(server.start())).code, "CLOSED");
  });
});

describe("draining", () => {
  it("answers what was accepted, ends streams and fetches, and refuses the rest as not applied", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const it_ = await rig({
      produce: async () => {
        await held;
        return { results: [] };
      },
      fetch: (_request, call) =>
        new Promise((_, reject) => {
          call.signal?.addEventListener("abort", () => reject(new Error("aborted")));
        }),
    });
    const channel = it_.connection.openProducer();
    const accepted = channel.produce(produceRequest(batch(0, 1)), plain);
    const waiting = FetchRequest.fromPartial({ maxWaitMs: 60_000, minBytes: 1 });
    const fetching = failureOf(it_.connection.api.fetch(waiting, plain));
    await until("both are there", () => it_.seen.length === 2);
    const drained = it_.server.drain();
    assert.equal((await fetching).code, "AGENT_DRAINING");
    const late = failureOf(channel.produce(produceRequest(batch(1, 1)), plain));
    release();
    assert.deepEqual(await accepted, { results: [] });
    const refused = await late;
    assert.equal(refused.outcome, "none");
    assert.equal(refused.retriable, true);
    assert.equal(refused.code, "AGENT_DRAINING");
    await drained;
    assert.equal(it_.seen.length, 2);
    assert.equal(channel.broken, true);
    assert.equal((await failureOf(it_.connection.api.listTopics({}, plain))).outcome, "none");
    await it_.stop();
    assert.equal(it_.connections(), 0);
  });

  it("tells those who watch the health, and does not wait for them", async () => {
    const it_ = await rig();
    const client = new Client(it_.address, credentials.createInsecure());
    const watch = client.makeServerStreamRequest(
      ...(["/grpc.health.v1.Health/Watch", identity, identity, Buffer.alloc(0)] as const),
    );
    const seen: number[] = [];
    watch.on("data", (answer: Buffer) => seen.push(answer[1] ?? -1));
    const ended = new Promise((resolve) => watch.on("error", resolve).on("end", resolve));
    await until("watched", () => seen.length === 1);
    await it_.server.drain();
    await ended;
    assert.deepEqual(seen, [1, 2]);
    client.close();
    await it_.stop();
  });

  it("is bounded: calls that do not end are cut off", async () => {
    const never = () => new Promise<never>(() => {});
    const it_ = await rig({ listTopics: never }, { server: { drainTimeoutMs: 50 } });
    const hanging = failureOf(it_.connection.api.listTopics({}, plain));
    await until("it is there", () => it_.seen.length === 1);
    await it_.server.stop();
    const error = await hanging;
    assert.equal(error.code, "AGENT_UNREACHABLE");
    assert.equal(error.outcome, "unknown");
    await it_.stop();
  });

  it("twice is once", async () => {
    const it_ = await rig();
    await it_.connection.api.listTopics({}, plain);
    await Promise.all([it_.server.stop(), it_.server.drain(), it_.server.stop()]);
    await it_.stop();
  });
});
