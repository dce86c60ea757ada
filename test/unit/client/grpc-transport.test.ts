/** The gRPC transport: deadlines, agents that go away, connections that go silent. */
import assert from "node:assert/strict";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { describe, it } from "node:test";
import { createGrpcServer } from "../../../src/agent/server.ts";
import { createGrpcTransport } from "../../../src/client/grpc-transport.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import { FetchRequest, FetchResponse } from "../../../src/rpc/gen/streamhouse/v1/consumer.ts";
import {
  batch,
  countingTelemetry,
  failureOf,
  fakeAgent,
  produceRequest,
  rig,
  until,
} from "../rpc/fake-agent.ts";

const plain = { timeoutMs: 10_000 };
const never = () => new Promise<never>(() => {});

/** Passes bytes on to an address until told to swallow them: what a dead network looks like. */
async function wire(to: string): Promise<{
  readonly address: string;
  cut(): void;
  close(): Promise<void>;
}> {
  const [host, port] = to.split(":");
  const sockets = new Set<Socket>();
  let silent = false;
  const server: Server = createServer((client) => {
    const agent = createConnection({ host: host ?? "", port: Number(port) });
    for (const [a, b] of [
      [client, agent],
      [agent, client],
    ] as const) {
      sockets.add(a);
      a.on("data", (bytes) => {
        if (!silent) b.write(bytes);
      });
      a.on("close", () => {
        if (!silent) b.destroy();
      });
      a.on("error", () => {});
    }
  });
  const bound = await new Promise<number>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port)),
  );
  return {
    address: `127.0.0.1:${bound}`,
    cut() {
      silent = true;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("a unary call over gRPC", () => {
  it("ends at its deadline, with the outcome open", async () => {
    const it_ = await rig({ listTopics: never });
    const error = await failureOf(it_.connection.api.listTopics({}, { timeoutMs: 2_000 }));
    assert.equal(error.code, "DEADLINE_EXCEEDED");
    assert.equal(error.outcome, "unknown");
    assert.equal(error.retriable, true);
    const name = "streamhouse.v1.AdminService/ListTopics DEADLINE_EXCEEDED";
    const gaveUp = "streamhouse.v1.AdminService/ListTopics CANCELLED";
    await until("counted", () => (it_.requests()[name] ?? it_.requests()[gaveUp]) === 1);
    await it_.stop();
  });

  it("tells the agent when its caller lost interest", async () => {
    let told = false;
    const it_ = await rig({
      listTopics: (_request, call) => {
        call.signal?.addEventListener("abort", () => {
          told = true;
        });
        return never();
      },
    });
    const stop = new AbortController();
    const call = failureOf(it_.connection.api.listTopics({}, { ...plain, signal: stop.signal }));
    await until("it is there", () => it_.seen.length === 1);
    stop.abort();
    assert.equal((await call).code, "ABORTED");
    await until("told", () => told);
    const again = failureOf(it_.connection.api.listTopics({}, { ...plain, signal: stop.signal }));
    assert.equal((await again).outcome, "none");
    assert.equal(it_.seen.length, 1);
    await it_.stop();
  });

  it("carries answers of 8 MiB", async () => {
    const records = new Uint8Array(1_048_576).fill(5);
    const it_ = await rig({
      fetch: async () =>
        FetchResponse.fromPartial({
          partitions: [
            { batches: Array.from({ length: 8 }, () => ({ records, appendTimeMs: 1 })) },
          ],
        }),
    });
    const answer = await it_.connection.api.fetch(FetchRequest.fromPartial({}), plain);
    const batches = answer.partitions[0]?.batches ?? [];
    assert.equal(batches.length, 8);
    for (const { records: bytes } of batches) {
      assert.equal(Buffer.compare(bytes, records), 0);
      assert.equal(bytes.constructor, Uint8Array);
    }
    await it_.stop();
  });

  it("that is too large never leaves", async () => {
    const it_ = await rig();
    const large = Array.from({ length: 9 }, (_, i) => batch(i, 1_048_576));
    const error = await failureOf(it_.connection.api.produce(produceRequest(...large), plain));
    assert.equal(error.code, "REQUEST_TOO_LARGE");
    assert.equal(error.outcome, "none");
    assert.equal(it_.seen.length, 0);
    await it_.stop();
  });

  it("of which the answer is too large fails by name", async () => {
    const records = new Uint8Array(9 * 1_048_576);
    const it_ = await rig({
      fetch: async () => FetchResponse.fromPartial({ partitions: [{ batches: [{ records }] }] }),
    });
    const error = await failureOf(it_.connection.api.fetch(FetchRequest.fromPartial({}), plain));
    assert.equal(error.code, "REQUEST_TOO_LARGE");
    await it_.stop();
  });

  it("to nobody names the address and says that nothing was applied", async () => {
    const it_ = await rig();
    await it_.server.stop();
    const error = await failureOf(it_.connection.api.listTopics({}, plain));
    assert.equal(error.code, "AGENT_UNREACHABLE");
    assert.equal(error.outcome, "none");
    assert.match(error.message, new RegExp(it_.address.replaceAll(".", "\\.")));
    assert.match(error.message, /ECONNREFUSED|refused/i);
    await it_.stop();
  });

  it("to a peer that accepts the connection and says nothing is AGENT_UNREACHABLE", async () => {
    const sockets: Socket[] = [];
    const mute = createServer((socket) => sockets.push(socket));
    const port = await new Promise<number>((resolve) =>
      mute.listen(0, "127.0.0.1", () => resolve((mute.address() as { port: number }).port)),
    );
    const address = `127.0.0.1:${port}`;
    const transport = createGrpcTransport({ clock: systemClock }, { addresses: [address] });
    const call = transport.connection(address).api.listTopics({}, { timeoutMs: 150 });
    const error = await failureOf(call);
    assert.equal(error.code, "AGENT_UNREACHABLE");
    assert.equal(error.outcome, "none");
    await transport.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => mute.close(resolve));
  });
});

describe("a connection over gRPC", () => {
  it("is made again by itself when the agent is back", async () => {
    const it_ = await rig();
    await it_.connection.api.listTopics({}, plain);
    await it_.server.stop();
    assert.equal((await failureOf(it_.connection.api.listTopics({}, plain))).outcome, "none");
    const again = createGrpcServer(
      {
        ...{ api: fakeAgent().api, telemetry: countingTelemetry() },
        ...{ logger: silentLogger, clock: systemClock },
      },
      { address: it_.address },
    );
    await again.start();
    let answered = false;
    const end = performance.now() + 10_000;
    while (!answered && performance.now() < end) {
      answered = await it_.connection.api.listTopics({}, plain).then(
        () => true,
        () => new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 20)),
      );
    }
    assert.equal(answered, true);
    const channel = it_.connection.openProducer();
    await channel.produce(produceRequest(batch(0, 1)), plain);
    await it_.stop();
    await again.stop();
  });

  it("that goes silent is noticed by keepalive, in the middle of a stream too", async () => {
    const it_ = await rig({ produce: never, fetch: never });
    const line = await wire(it_.address);
    const transport = createGrpcTransport(
      { clock: systemClock },
      { addresses: [line.address], keepaliveTimeMs: 500, keepaliveTimeoutMs: 2_000 },
    );
    const connection = transport.connection(line.address);
    const channel = connection.openProducer();
    const long = { timeoutMs: 60_000 };
    const produced = failureOf(channel.produce(produceRequest(batch(0, 1)), long));
    const fetched = failureOf(connection.api.fetch(FetchRequest.fromPartial({}), long));
    await until("both are there", () => it_.seen.length === 2);
    line.cut();
    for (const error of await Promise.all([produced, fetched])) {
      assert.equal(error.code, "AGENT_UNREACHABLE");
      assert.equal(error.outcome, "unknown");
    }
    await transport.close();
    await line.close();
    await it_.stop();
  });

  it("to an agent that is no longer there is let go of when nothing is under way, and made again if somebody uses it", async () => {
    const hold = Promise.withResolvers<void>();
    const it_ = await rig({
      listTopics: async () => {
        await hold.promise;
        return { topics: [] };
      },
    });
    const transport = createGrpcTransport({ clock: systemClock }, { addresses: ["127.0.0.1:1"] });
    const connection = transport.connection(it_.address);
    const listing = connection.api.listTopics({}, plain);
    await until("it is there", () => it_.seen.length === 1);
    transport.keep?.(new Set());
    hold.resolve();
    await listing;
    assert.equal(it_.connections(), 1, "not in the middle of a call");
    transport.keep?.(new Set([it_.address]));
    assert.equal(it_.connections(), 1);
    transport.keep?.(new Set());
    await until("the connection is gone", () => it_.connections() === 0);
    assert.notEqual(transport.connection(it_.address), connection, "it is forgotten");
    await connection.api.listTopics({}, plain);
    assert.equal(it_.connections(), 1, "whoever still knew it goes on");
    await transport.close();
    await until("the transport took it along", () => it_.connections() === 0);
    assert.equal((await failureOf(connection.api.listTopics({}, plain))).code, "CLOSED");
    await it_.stop();
  });

  it("ends with its calls when it is closed, and takes no more", async () => {
    const it_ = await rig({ listTopics: never });
    const hanging = failureOf(it_.connection.api.listTopics({}, plain));
    await until("it is there", () => it_.seen.length === 1);
    await it_.transport.close();
    assert.equal((await hanging).code, "CLOSED");
    assert.equal((await failureOf(it_.connection.api.listTopics({}, plain))).code, "CLOSED");
    assert.throws(() => it_.connection.openProducer(), { code: "CLOSED" });
    assert.throws(() => it_.transport.connection(it_.address), { code: "CLOSED" });
    await until("the connection is gone", () => it_.connections() === 0);
    await it_.stop();
  });
});

describe("addresses for the gRPC transport", () => {
  it("are host:port, at least one", () => {
    const make = (...addresses: string[]) =>
      createGrpcTransport({ clock: systemClock }, { addresses });
    assert.throws(() => make(), { code: "INVALID_ARGUMENT", field: "agents" });
    for (const wrong of ["localhost", "http://localhost:7070", "a b:1", ":7070", "::1:7070"]) {
      assert.throws(() => make(wrong), { code: "INVALID_ARGUMENT", field: "agents" }, wrong);
    }
    assert.deepEqual(make("a:1", "b:2", "a:1").bootstrap, ["a:1", "b:2"]);
    make("[::1]:7070", "example.org:7070");
  });
});
