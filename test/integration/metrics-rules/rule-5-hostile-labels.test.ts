/**
 * METRICS rule 5: what a client makes up (topics, methods, error texts) never becomes a label value. 100,000 topic names over gRPC and in
 * process, and as many methods, leave the series, the memory and the results of others as they were.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Client, credentials } from "@grpc/grpc-js";
import { createGrpcTransport } from "../../../src/client/grpc-transport.ts";
import type { AgentConnection, Transport } from "../../../src/client/transport.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { connect } from "../../../src/house/connect.ts";
import type { House } from "../../../src/house/house.ts";
import { CallMetrics } from "../../../src/rpc/call-metrics.ts";
import { Acks } from "../../../src/rpc/gen/streamhouse/v1/producer.ts";
import { grpcStatus } from "../../../src/rpc/status.ts";
import { type Served, serve } from "../../../src/serve/serve.ts";
import { bootstrap, type TelemetrySdk } from "../../../src/telemetry/bootstrap.ts";
import { createTelemetry } from "../../../src/telemetry/telemetry.ts";
import { createTestHouse } from "../../../src/testing/test-house.ts";
import { countHeld } from "../../regression/collect-garbage.ts";
import { temporaryFolder } from "../ways.ts";

const many = 100_000;
/** Calls of which each costs a round trip: enough to show growth, few enough for a busy machine. */
const some = 500;
const perRequest = 1_000;
const call = { timeoutMs: 60_000 };
const batch = new Uint8Array(61);
const mark = "made-up-by-an-attacker";

/** Used bytes of the heap after a collection, in MB. */
async function heapMb(): Promise<number> {
  await countHeld([]);
  return process.memoryUsage().heapUsed / 1_000_000;
}

/** Runs `work` for 0, 1, 2 … below `count`, eight at a time. */
async function inParallel(count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const runner = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: 8 }, runner));
}

async function refused(sending: Promise<unknown>): Promise<string> {
  try {
    await sending;
    return "OK";
  } catch (error) {
    return (error as { readonly code: string }).code;
  }
}

/** Every name in a message that has room for one. */
async function attackOverGrpc({ api }: AgentConnection, names: number): Promise<Set<string>> {
  const codes = new Set<string>();
  await inParallel(names / perRequest, async (n) => {
    const made = Array.from({ length: perRequest }, (_, i) => `${mark}-${n * perRequest + i}`);
    const batches = made.map((topic) => ({ topic, topicId: "", partition: 0, records: batch }));
    const request = { acks: Acks.ACKS_DURABLE, timeoutMs: 0, batches };
    codes.add(await refused(api.produce(request, call)));
    const partitions = made.map((topicId) => ({ topicId, partition: 0, offset: 0, maxBytes: 0 }));
    const member = { group: "", memberId: "", memberEpoch: 0 };
    const wait = { maxWaitMs: 0, minBytes: 0, maxBytes: 0 };
    codes.add(await refused(api.fetch({ partitions, ...wait, ...member }, call)));
  });
  await inParallel(Math.min(names, some), async (n) => {
    codes.add(await refused(api.describeTopic({ topicId: "", name: `${mark} "\n${n}\\` }, call)));
  });
  return codes;
}

/** Calls of methods that the agent does not have. */
async function callUnknownMethods(
  address: string,
  count: number,
): Promise<Set<number | undefined>> {
  const client = new Client(address, credentials.createInsecure());
  const same = (bytes: Buffer) => bytes;
  const codes = new Set<number | undefined>();
  await inParallel(
    count,
    (n) =>
      new Promise<void>((resolve) => {
        const path = `/${mark}.Service/Method${n}`;
        client.makeUnaryRequest(path, same, same, Buffer.alloc(0), (error) => {
          codes.add(error?.code);
          resolve();
        });
      }),
  );
  client.close();
  return codes;
}

describe("rule 5: what clients make up", () => {
  let sdk: TelemetrySdk;
  let served: Served;
  let house: House;
  let transport: Transport;
  let removeFolder: () => Promise<void>;

  const text = async () => (await sdk.metrics.collect()).body;
  const seriesNames = async () =>
    (await text())
      .split("\n")
      .filter((line) => line.startsWith("streamhouse_") || /^(messaging|rpc)_/.test(line))
      .map((line) => line.slice(0, line.lastIndexOf(" ")));
  const attack = async (names: number) => {
    const codes = await attackOverGrpc(transport.connection(served.grpc), names);
    assert.ok(codes.has("TOPIC_NOT_FOUND"), [...codes].join());
    const statuses = await callUnknownMethods(served.grpc, Math.min(names, some));
    assert.deepEqual([...statuses], [grpcStatus.UNIMPLEMENTED]);
  };

  before(async () => {
    const folder = await temporaryFolder();
    removeFolder = folder.remove;
    sdk = bootstrap({ register: false, env: {} });
    served = await serve({
      ...{ data: folder.path, grpc: "127.0.0.1:0", http: false, telemetry: sdk },
    });
    house = await connect({ agents: [served.grpc], telemetry: sdk });
    transport = createGrpcTransport({ clock: systemClock }, { addresses: [served.grpc] });
    await house.admin.createTopic("orders");
  });

  after(async () => {
    await transport.close();
    await house.close();
    await served.stop();
    await sdk.shutdown();
    await removeFolder();
  });

  it("adds no series, no label value and no memory over gRPC, and others' records are what they were", async () => {
    const producer = house.producer();
    // Every series that an attack may have is there, and every path is warm.
    await attack(perRequest);
    await producer.send({ topic: "orders", value: "before" });
    const before = new Set(await seriesNames());
    const heapBefore = await heapMb();
    const sending = Promise.all(
      Array.from({ length: 200 }, (_, i) => producer.send({ topic: "orders", value: `${i}` })),
    );
    await attack(many);
    const offsets = (await sending).map(({ offset }) => offset);
    assert.deepEqual(
      offsets,
      Array.from({ length: 200 }, (_, i) => i + 1),
    );
    const grown = (await seriesNames()).filter((name) => !before.has(name));
    // The agent's own background work may do something for the first time meanwhile: that has other labels.
    const byClients = grown.filter((name) =>
      /[{,](topic|method|rpc_method|error_type)=/.test(name),
    );
    assert.deepEqual(byClients, []);
    assert.ok(grown.length < 200, `${grown.length}`);
    assert.ok(!(await text()).includes(mark));
    const growth = (await heapMb()) - heapBefore;
    assert.ok(growth < 30, `the heap grew by ${growth.toFixed(1)} MB`);
  });

  it("adds no series in process, whatever topics an application sends to", async () => {
    const embedded = await createTestHouse({ telemetry: sdk });
    const producer = embedded.producer();
    const send = (n: number) => refused(producer.send({ topic: `${mark}-${n}`, value: "x" }));
    await send(-1);
    const before = (await seriesNames()).length;
    await inParallel(some, async (n) => assert.equal(await send(n), "TOPIC_NOT_FOUND"));
    assert.equal((await seriesNames()).length, before);
    assert.match(
      await text(),
      /^streamhouse_send_errors_total\{topic="_OTHER",error_type="TOPIC_/m,
    );
    await embedded.close();
  });

  it("adds no series for 100,000 methods that the server does not have", async () => {
    const telemetry = createTelemetry(sdk, { name: "agent" });
    const calls = new CallMetrics(telemetry, systemClock, ["/known.Service/Method"]);
    calls.called(`/${mark}.Service/Method`)(grpcStatus.UNIMPLEMENTED);
    const before = (await seriesNames()).length;
    for (let n = 0; n < many; n++) calls.called(`/${mark}.S/M${n}`)(grpcStatus.UNIMPLEMENTED);
    assert.equal((await seriesNames()).length, before);
    assert.ok(!(await text()).includes(mark));
    telemetry.close();
  });
});
