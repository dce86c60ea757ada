import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createGrpcTransport } from "../../../src/client/grpc-transport.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { invalid } from "../../../src/core/errors.ts";
import { Acks } from "../../../src/rpc/gen/streamhouse/v1/producer.ts";
import type { Telemetry } from "../../../src/telemetry/telemetry.ts";
import { countingTelemetry, type Rig, rig as startRig } from "../rpc/fake-agent.ts";
import { readFamilies } from "../telemetry/read-families.ts";

describe("calls over gRPC", () => {
  let rig: Rig;
  let telemetry: Telemetry;
  const shown = () =>
    Object.entries(readFamilies(telemetry.metrics.collect()))
      .filter(([name]) => name.startsWith("rpc.client.call.duration"))
      .map(([name, value]) => [name, (value as number[])[0]] as const);

  before(async () => {
    rig = await startRig({
      async deleteTopic() {
        throw invalid("TOPIC_NOT_FOUND", "no such topic");
      },
    });
    telemetry = countingTelemetry();
  });
  after(() => rig.stop());

  it("have one duration each, by method, status and server; a stream of requests is one call", async () => {
    const transport = createGrpcTransport(
      { clock: systemClock, telemetry },
      { addresses: [rig.address] },
    );
    const connection = transport.connection(rig.address);
    await connection.api.listTopics({}, { timeoutMs: 30_000 });
    await connection.api.listTopics({}, { timeoutMs: 30_000 });
    await assert.rejects(connection.api.deleteTopic({ name: "x" }, { timeoutMs: 30_000 }));
    const channel = connection.openProducer();
    const request = { acks: Acks.ACKS_DURABLE, batches: [], timeoutMs: 0 };
    for (let i = 0; i < 3; i++) await channel.produce(request, { timeoutMs: 30_000 });
    assert.equal(
      shown().some(([name]) => name.includes("ProduceStream")),
      false,
      "the stream is not over",
    );
    await channel.close();
    const port = Number(rig.address.split(":")[1]);
    const at = `server.address=127.0.0.1,server.port=${port}`;
    const rpc = (method: string, status: string, error = "") =>
      `rpc.client.call.duration{rpc.system.name=grpc,rpc.method=streamhouse.v1.${method},` +
      `rpc.response.status_code=${status},${error}${at}}`;
    assert.deepEqual(Object.fromEntries(shown()), {
      [rpc("AdminService/ListTopics", "OK")]: 2,
      [rpc("AdminService/DeleteTopic", "NOT_FOUND", "error.type=NOT_FOUND,")]: 1,
      [rpc("ProducerService/ProduceStream", "OK")]: 1,
    });
    await transport.close();
  });
});
