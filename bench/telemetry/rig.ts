/**
 * A house of one variant in this process, over an agent whose store is memory: nothing waits for a
 * disk, so that what measuring costs shows as much as it ever can. With or without gRPC between.
 */
import { createAgent } from "../../src/agent/agent.ts";
import { createGrpcServer } from "../../src/agent/server.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createUlid, systemRandom } from "../../src/core/ids.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { embed } from "../../src/serve/embed.ts";
import { openMemoryStores } from "../../src/serve/stores.ts";
import { Teardown } from "../../src/serve/teardown.ts";
import type { TelemetryOptions } from "../../src/telemetry/telemetry.ts";

export type Way = "embedded" | "grpc";

export interface Rig {
  readonly house: House;
  close(): Promise<void>;
}

/** Agent and clients are measured the same way. */
export async function openRig(way: Way, telemetry: TelemetryOptions | false): Promise<Rig> {
  if (way === "grpc") return await openGrpc(telemetry);
  const house = await embed({ telemetry });
  return { house, close: () => house.close() };
}

async function openGrpc(telemetry: TelemetryOptions | false): Promise<Rig> {
  const common = { clock: systemClock, random: systemRandom, logger: silentLogger };
  const teardown = new Teardown(silentLogger);
  const runId = createUlid(systemClock.now(), systemRandom);
  try {
    const opened = openMemoryStores({ ...common, teardown });
    const { predecessorsDead, ...stores } = opened;
    const agent = createAgent({ ...stores, ...common, telemetry }, { runId, predecessorsDead });
    teardown.add("agent", () => agent.stop());
    const parts = { ...common, api: agent.api, telemetry: agent.telemetry };
    const server = createGrpcServer(parts, { address: "127.0.0.1:0" });
    teardown.add("gRPC server", () => server.stop());
    const address = await server.start();
    await agent.start({ address });
    const house = await connect({ agents: [address], telemetry });
    teardown.add("house", () => house.close());
    return { house, close: () => teardown.unwind() };
  } catch (error) {
    await teardown.unwind().catch(() => {});
    throw error;
  }
}
