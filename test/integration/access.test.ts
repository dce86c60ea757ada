/**
 * Keys on: no call of any service works without one, over real connections. The services are those of the descriptors, and health and
 * reflection, whose streams count too.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { HealthDefinition } from "nice-grpc-server-health";
import { ServerReflectionService } from "nice-grpc-server-reflection";
import { systemClock } from "../../src/core/clock.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { createSqliteMetadata } from "../../src/metadata/sqlite.ts";
import { type MessageType, services } from "../../src/rpc/methods.ts";
import { grpcStatus } from "../../src/rpc/status.ts";
import { embed } from "../../src/serve/embed.ts";
import { type Served, serve } from "../../src/serve/serve.ts";
import { createMemoryStore } from "../../src/storage/memory.ts";

interface AnyMethod {
  readonly path: string;
  readonly request: Uint8Array;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

/** Every method that the server has. */
function methods(): readonly AnyMethod[] {
  const ours = services.flatMap((service) =>
    Object.values(service.methods).map((method) => {
      const type = method.requestType as MessageType<object>;
      return {
        ...{ path: `/${service.fullName}/${method.name}`, request: encode(type) },
        ...{ requestStream: method.requestStream, responseStream: method.responseStream },
      };
    }),
  );
  const health = Object.values(HealthDefinition.methods).map((method) => ({
    ...{ path: `/${HealthDefinition.fullName}/${method.name}`, request: new Uint8Array() },
    ...{ requestStream: false, responseStream: method.responseStream },
  }));
  const { path } = ServerReflectionService.serverReflectionInfo;
  // ListServices of "": field 7, no bytes.
  const request = new Uint8Array([0x3a, 0]);
  const reflection = [path, path.replace(".v1.", ".v1alpha.")].map((it) => ({
    ...{ path: it, request, requestStream: true, responseStream: true },
  }));
  return [...ours, ...health, ...reflection];
}

function encode(type: MessageType<object>): Uint8Array {
  return type.encode(type.fromPartial({})).finish();
}

const identity = (bytes: Buffer) => bytes;

interface Ended {
  readonly code: number;
  readonly messages: number;
}

/** Makes the call with this `authorization`, and ends it after the first answer. */
function call(
  client: Client,
  { path, request, requestStream, responseStream }: AnyMethod,
  credential: string | undefined,
): Promise<Ended> {
  const metadata = new Metadata();
  if (credential !== undefined) metadata.set("authorization", credential);
  const options = { deadline: Date.now() + 30_000 };
  const body = Buffer.from(request);
  return new Promise((resolve) => {
    if (!requestStream && !responseStream) {
      client.makeUnaryRequest(path, identity, identity, body, metadata, options, (error) =>
        resolve({ code: error?.code ?? grpcStatus.OK, messages: error === null ? 1 : 0 }),
      );
      return;
    }
    const openStream = () => {
      if (!requestStream) {
        return client.makeServerStreamRequest(path, identity, identity, body, metadata, options);
      }
      const both = client.makeBidiStreamRequest(path, identity, identity, metadata, options);
      both.write(body);
      both.end();
      return both;
    };
    const stream = openStream();
    let messages = 0;
    stream.on("data", () => {
      messages++;
      stream.cancel();
    });
    stream.on("error", () => {});
    stream.on("status", ({ code }: { code: number }) => {
      resolve({ code: messages > 0 ? grpcStatus.OK : code, messages });
    });
  });
}

async function agent(access: Parameters<typeof serve>[0]["access"]): Promise<Served> {
  const metadata = createSqliteMetadata({ path: ":memory:", clock: systemClock });
  return serve({
    ...{ store: createMemoryStore({ clock: systemClock }), metadata, access },
    ...{ grpc: "127.0.0.1:0", http: "127.0.0.1:0", telemetry: false },
    agent: { flushIntervalMs: 0 },
  });
}

async function makeKey(
  served: Served,
  rights: readonly (readonly [string, string])[],
  lifeMs = 0,
): Promise<{ text: string; id: string }> {
  const { key, text } = await served.agent.api.createKey(
    {
      name: "test",
      rights: rights.map(([action, topicPrefix]) => ({ action, topicPrefix })),
      lifeMs,
    },
    {},
  );
  return { text, id: key?.keyId ?? "" };
}

async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return StreamHouseError.is(error) ? error.code : String(error);
  }
  return "OK";
}

describe("an agent with keys on", () => {
  let served: Served;
  let client: Client;
  let owner: { text: string; id: string };
  const houses: House[] = [];
  const house = async (apiKey: string) => {
    const it_ = await connect({ agents: [served.grpc], apiKey, telemetry: false });
    houses.push(it_);
    return it_;
  };
  before(async () => {
    served = await agent("keys");
    client = new Client(served.grpc, credentials.createInsecure());
    owner = await makeKey(served, [
      ["admin", ""],
      ["produce", ""],
      ["consume", ""],
    ]);
  });
  after(async () => {
    for (const it_ of houses) await it_.close();
    client.close();
    await served.stop();
  });

  it("takes no call of any service without a key in force, streams included", async () => {
    const revoked = await makeKey(served, [["admin", ""]]);
    await served.agent.api.revokeKey({ keyId: revoked.id }, {});
    const expired = await makeKey(served, [["admin", ""]], 1);
    const wrong = `${owner.text.slice(0, -1)}${owner.text.endsWith("a") ? "b" : "a"}`;
    const shown = [undefined, "Bearer x", owner.text, `Bearer ${wrong}`, `Bearer ${revoked.text}`];
    const all = methods();
    assert.ok(all.length >= 25 && all.filter((it) => it.responseStream).length === 4);
    for (const credential of [...shown, `Bearer ${expired.text}`]) {
      const ended = await Promise.all(all.map((it) => call(client, it, credential)));
      const open = all.filter((_, i) => ended[i]?.code !== grpcStatus.UNAUTHENTICATED);
      assert.deepEqual(
        open.map((it) => it.path),
        [],
      );
      assert.ok(ended.every((it) => it.messages === 0));
    }
  });

  it("lets every call of every service through to the agent with the owner's key", async () => {
    const refused: number[] = [grpcStatus.UNAUTHENTICATED, grpcStatus.PERMISSION_DENIED];
    for (const it_ of methods()) {
      const { code: status } = await call(client, it_, `Bearer ${owner.text}`);
      assert.ok(!refused.includes(status), `${it_.path} ended with ${status}`);
    }
  });

  it("gives no call but the open ones to a key whose only right is elsewhere", async () => {
    const { text } = await makeKey(served, [["produce", "nowhere."]]);
    const allowed = [];
    for (const it_ of methods()) {
      const { code: status } = await call(client, it_, `Bearer ${text}`);
      if (status !== grpcStatus.PERMISSION_DENIED) allowed.push(it_.path.split("/").at(-1));
    }
    assert.deepEqual(allowed.sort(), [
      ...["Check", "DescribeCluster", "DescribeTopic", "InitProducer", "ListTopics", "Produce"],
      ...["ProduceStream", "ServerReflectionInfo", "ServerReflectionInfo", "Watch"],
    ]);
  });

  it("lets a program do what its key says, over the client that everybody uses", async () => {
    const root = await house(owner.text);
    await root.admin.createTopic("shop.orders");
    await root.admin.createTopic("other");
    const { text } = await makeKey(served, [
      ["produce", "shop."],
      ["consume", "shop."],
    ]);
    const shop = await house(text);
    const producer = shop.producer();
    await producer.send({ topic: "shop.orders", value: "1" });
    const refused = await code(producer.send({ topic: "other", value: "1" }));
    assert.equal(refused, "PERMISSION_DENIED");
    const consumer = shop.consumer({
      group: "g",
      topics: ["shop.orders"],
      offsetReset: "earliest",
    });
    for await (const record of consumer) {
      assert.equal(record.text(), "1");
      break;
    }
    await consumer.close();
    assert.deepEqual(
      (await shop.admin.listTopics()).map((it_) => it_.name),
      ["shop.orders"],
    );
    assert.equal(await code(shop.admin.createTopic("shop.new")), "PERMISSION_DENIED");
    assert.equal(await code(shop.admin.keys.list()), "PERMISSION_DENIED");
    const greedy = shop.consumer({ group: "g", topics: ["other"], offsetReset: "earliest" });
    assert.equal(await code(greedy.poll(10_000)), "PERMISSION_DENIED");
    await greedy.close();
  });

  it("makes, lists and revokes keys for the owner, and ends streams of a revoked one", async () => {
    const root = await house(owner.text);
    const made = await root.admin.keys.create("pipe", {
      rights: [{ action: "produce", topicPrefix: "" }],
      lifeMs: 3_600_000,
    });
    const pipe = await house(made.text);
    await root.admin.createTopic("pipe");
    const producer = pipe.producer({ deliveryTimeoutMs: 20_000 });
    await producer.send({ topic: "pipe", value: "1" });
    const listed = (await root.admin.keys.list()).find((it_) => it_.id === made.id);
    assert.equal(listed?.name, "pipe");
    assert.equal(listed?.isExpired, false);
    assert.equal(JSON.stringify(listed).includes(made.text.slice(16)), false);
    assert.equal(await root.admin.keys.revoke(made.id), true);
    assert.equal(await root.admin.keys.revoke(made.id), false);
    assert.equal(await code(producer.send({ topic: "pipe", value: "2" })), "UNAUTHENTICATED");
  });

  it("opens /metrics to an owner's key and probes to everybody", async () => {
    const ask = async (path: string, authorization?: string) => {
      const headers = authorization === undefined ? {} : { authorization };
      const response = await fetch(`${served.http}${path}`, { headers });
      await response.arrayBuffer();
      return response.status;
    };
    const { text } = await makeKey(served, [["consume", ""]]);
    assert.equal(await ask("/health"), 200);
    assert.equal(await ask("/metrics"), 401);
    assert.equal(await ask("/metrics", `Bearer ${text}`), 401);
    // Without telemetry there is nothing to show, but somebody to tell it to.
    assert.equal(await ask("/metrics", `Bearer ${owner.text}`), 404);
  });
});

describe("keys and what is beside them", () => {
  it("health checks can be left open, and nothing else with them", async () => {
    const served = await agent({ by: "keys", openHealth: true });
    const client = new Client(served.grpc, credentials.createInsecure());
    try {
      const open = [];
      for (const it_ of methods()) {
        const { code: status } = await call(client, it_, undefined);
        if (status !== grpcStatus.UNAUTHENTICATED) open.push([it_.path, status]);
      }
      assert.deepEqual(open, [
        ["/grpc.health.v1.Health/Check", grpcStatus.OK],
        ["/grpc.health.v1.Health/Watch", grpcStatus.OK],
      ]);
    } finally {
      client.close();
      await served.stop();
    }
  });

  it("a mistyped wish for keys leaves no door open", async () => {
    for (const access of ["key", { by: "nothing" }, true, null]) {
      assert.equal(await code(agent(access as never)), "INVALID_ARGUMENT");
    }
  });

  it("an agent without keys makes none over the network", async () => {
    const served = await agent(undefined);
    const open = await connect({ agents: [served.grpc], telemetry: false });
    try {
      const rights = [{ action: "admin", topicPrefix: "" }] as const;
      assert.equal(await code(open.admin.keys.create("me", { rights })), "NOT_SUPPORTED");
      await open.admin.createTopic("t");
    } finally {
      await open.close();
      await served.stop();
    }
  });

  it("an embedded house needs no key, and makes them", async () => {
    const house = await embed({ telemetry: false });
    try {
      await house.admin.createTopic("t");
      const key = await house.admin.keys.create("k", {
        rights: [{ action: "admin", topicPrefix: "" }],
      });
      assert.match(key.text, /^sh_/);
    } finally {
      await house.close();
    }
  });
});
