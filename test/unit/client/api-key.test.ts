/** The key that a client says: with every call, never in the open, asked for again when it was refused, and never told to anybody else. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { createGrpcServer } from "../../../src/agent/server.ts";
import { type ApiKey, createAuthorizer, isLoopback } from "../../../src/client/api-key.ts";
import { createGrpcTransport } from "../../../src/client/grpc-transport.ts";
import type { AgentConnection } from "../../../src/client/transport.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import { connect } from "../../../src/house/connect.ts";
import type { CallAccess } from "../../../src/rpc/call-access.ts";
import { toErrorDetail } from "../../../src/rpc/status.ts";
import {
  batch,
  countingTelemetry,
  failureOf,
  fakeAgent,
  produceRequest,
  rig,
} from "../rpc/fake-agent.ts";

const call = { timeoutMs: 20_000 };

function refusal(): StreamHouseError {
  const message = "the key is not known";
  return new StreamHouseError({ code: "UNAUTHENTICATED", kind: "invalid", message });
}

interface Guarded {
  readonly address: string;
  readonly connection: AgentConnection;
  /** What the agent was shown, call by call and frame by frame. */
  readonly shown: (string | undefined)[];
  stop(): Promise<void>;
}

/** An agent that knows some keys, and asks each call and each frame for its own. */
async function guarded(known: Set<string>, apiKey: ApiKey | undefined): Promise<Guarded> {
  const shown: (string | undefined)[] = [];
  const check = (credential: string | undefined) => {
    shown.push(credential);
    if (!known.has(String(credential).replace("Bearer ", ""))) throw refusal();
  };
  const { api } = fakeAgent();
  const access: CallAccess = {
    api: {
      ...api,
      listTopics: async (request, context) => {
        check(context.credential);
        return api.listTopics(request, context);
      },
    },
    authenticate: async ({ credential }) => check(credential),
    openProduceStream: async ({ credential }) => ({
      produce: async (request, context) => {
        check(credential);
        return api.produce(request, context);
      },
    }),
  };
  const telemetry = countingTelemetry();
  const components = { api, access, telemetry, logger: silentLogger, clock: systemClock };
  const server = createGrpcServer(components, { address: "127.0.0.1:0" });
  const address = await server.start();
  const transport = createGrpcTransport({ clock: systemClock }, { addresses: [address], apiKey });
  return {
    ...{ address, shown, connection: transport.connection(address) },
    async stop() {
      await transport.close();
      await server.stop();
      telemetry.close();
    },
  };
}

describe("a client's key", () => {
  it("goes with every unary call and with the stream", async () => {
    const it_ = await guarded(new Set(["k1"]), "k1");
    await it_.connection.api.listTopics({}, call);
    const producer = it_.connection.openProducer();
    await producer.produce(produceRequest(batch(0, 3)), call);
    await producer.close();
    assert.deepEqual(it_.shown, ["Bearer k1", "Bearer k1"]);
    await it_.stop();
  });

  it("is absent where none is given", async () => {
    const it_ = await rig();
    await it_.connection.api.listTopics({}, call);
    assert.equal(it_.seen[0]?.call.credential, undefined);
    await it_.stop();
  });

  it("that is refused fails the call, and is in no error", async () => {
    const it_ = await guarded(new Set(), "sh_secret_of_mine");
    const failures = [
      await failureOf(it_.connection.api.listTopics({}, call)),
      await failureOf(it_.connection.openProducer().produce(produceRequest(batch(0, 1)), call)),
      await failureOf(connect({ agents: [it_.address], apiKey: "sh secret", telemetry: false })),
    ];
    for (const error of failures) assert.equal(inspect(error).includes("secret"), false);
    assert.deepEqual(
      failures.map(({ code, retriable }) => [code, retriable]),
      [
        ["UNAUTHENTICATED", false],
        ["UNAUTHENTICATED", false],
        ["INVALID_ARGUMENT", false],
      ],
    );
    await it_.stop();
  });

  it("is asked for once, by however many calls at once", async () => {
    let asked = 0;
    const ask = async () => `k${++asked}`;
    const it_ = await guarded(new Set(["k1"]), ask);
    const { api } = it_.connection;
    await Promise.all([1, 2, 3].map(() => api.listTopics({}, call)));
    await api.listTopics({}, call);
    assert.equal(asked, 1);
    await it_.stop();
  });

  it("is asked for again when it was refused, and the call succeeds with the new one", async () => {
    const known = new Set(["k1"]);
    let current = "k1";
    const it_ = await guarded(known, () => current);
    await it_.connection.api.listTopics({}, call);
    known.clear();
    known.add("k2");
    current = "k2";
    await Promise.all([1, 2].map(() => it_.connection.api.listTopics({}, call)));
    known.clear();
    const error = await failureOf(it_.connection.api.listTopics({}, call));
    assert.deepEqual([error.code, error.retriable], ["UNAUTHENTICATED", false]);
    await it_.stop();
  });

  it("that a stream was opened with is replaced with the stream: frames are told to come again", async () => {
    const known = new Set(["k1"]);
    let current = "k1";
    const it_ = await guarded(known, async () => current);
    const first = it_.connection.openProducer();
    await first.produce(produceRequest(batch(0, 1)), call);
    known.clear();
    known.add("k2");
    current = "k2";
    const error = await failureOf(first.produce(produceRequest(batch(0, 1)), call));
    assert.deepEqual(
      [error.code, error.retriable, error.outcome],
      ["UNAUTHENTICATED", true, "none"],
    );
    assert.equal(first.broken, true);
    const second = it_.connection.openProducer();
    await second.produce(produceRequest(batch(0, 1)), call);
    await second.close();
    await it_.stop();
  });

  it("that cannot be had is told as that, without the reason's text", async () => {
    for (const ask of [
      () => Promise.reject(new Error("vault token s3cr3t is over")),
      () => "two words s3cr3t",
      () => {
        throw new Error("s3cr3t");
      },
    ]) {
      const it_ = await guarded(new Set(), ask);
      const unary = await failureOf(it_.connection.api.listTopics({}, call));
      const frame = it_.connection.openProducer().produce(produceRequest(batch(0, 1)), call);
      for (const error of [unary, await failureOf(frame)]) {
        assert.deepEqual([error.code, error.retriable], ["UNAUTHENTICATED", true]);
        assert.equal(error.message.includes("s3cr3t"), false);
      }
      assert.deepEqual(it_.shown, []);
      await it_.stop();
    }
  });

  it("ends a connect() that has a wrong one at once, with what the agent says", async () => {
    const it_ = await rig({
      describeCluster: async () => {
        throw refusal();
      },
    });
    const options = { agents: [it_.address, "127.0.0.1:1"], apiKey: "wrong", telemetry: false };
    const error = await failureOf(connect({ ...options, telemetry: false }));
    assert.deepEqual([error.code, error.message], ["UNAUTHENTICATED", "the key is not known"]);
    assert.equal(toErrorDetail(error).code, "UNAUTHENTICATED");
    await it_.stop();
  });
});

describe("a key without TLS", () => {
  const open = (address: string, more = {}) =>
    createGrpcTransport({ clock: systemClock }, { addresses: [address], apiKey: "k", ...more });

  it("does not go to another machine, unless an option says so", async () => {
    for (const address of ["agent.example:7070", "10.0.0.1:7070", "127.example.com:7070"]) {
      assert.throws(
        () => open(address),
        (error: StreamHouseError) =>
          error.code === "INVALID_ARGUMENT" &&
          error.field === "apiKey" &&
          /tls/.test(error.message),
      );
      await open(address, { tls: true }).close();
      await open(address, { apiKeyOverPlaintext: true }).close();
    }
    for (const address of ["localhost:1", "127.0.0.1:1", "[::1]:1"]) await open(address).close();
  });

  it("does not go to an address that is learned later either", async () => {
    const transport = open("127.0.0.1:1");
    const learned = transport.connection("agent.example:7070");
    const unary = await failureOf(learned.api.listTopics({}, call));
    const frame = learned.openProducer().produce(produceRequest(batch(0, 1)), call);
    for (const error of [unary, await failureOf(frame)]) {
      assert.deepEqual([error.code, error.field], ["INVALID_ARGUMENT", "apiKey"]);
    }
    await transport.close();
  });

  it("knows this machine by its names only", () => {
    const here = ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"];
    const elsewhere = ["localhost.example", "127.0.0.1.example", "0.0.0.0", "::", "10.0.0.1"];
    assert.deepEqual([...here, ...elsewhere].filter(isLoopback), here);
  });
});

describe("an authorizer", () => {
  it("takes the same key twice for the only one", async () => {
    const authorizer = createAuthorizer(() => "k", systemClock);
    const error = refusal();
    const first = await authorizer.authorization();
    assert.equal(authorizer.judge(error, first).retriable, true);
    // Calls that were under way with the same key learn nothing new.
    assert.equal(authorizer.judge(error, first).retriable, true);
    const second = await authorizer.authorization();
    assert.equal(authorizer.judge(error, second), error);
  });

  it("leaves other errors as they are", async () => {
    const authorizer = createAuthorizer(() => "k", systemClock);
    const other = new StreamHouseError({ code: "OVERLOADED", kind: "unavailable", message: "m" });
    assert.equal(authorizer.judge(other, await authorizer.authorization()), other);
  });
});
