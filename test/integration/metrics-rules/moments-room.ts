/**
 * A house and its agent, in process or over gRPC, in which a test can stop work at each of its moments and read every component's cells
 * meanwhile. For METRICS rule 4. Real clock: what is waited for is a condition, never a time.
 */
import { type Agent, createAgent } from "../../../src/agent/agent.ts";
import { createGrpcServer } from "../../../src/agent/server.ts";
import { createCluster } from "../../../src/client/cluster.ts";
import { createInProcessTransport } from "../../../src/client/in-process-transport.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { systemRandom } from "../../../src/core/ids.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import { connect } from "../../../src/house/connect.ts";
import { createHouse, type House } from "../../../src/house/house.ts";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import type { InstrumentDescriptor } from "../../../src/telemetry/catalogue.ts";
import {
  type AttributeValues,
  isHistogram,
  type MetricRegistry,
} from "../../../src/telemetry/cells.ts";
import { type Faults, withFaults } from "../../fault/faulty-metadata.ts";
import { capturingProvider } from "../../fault/telemetry/sabotage.ts";
import { MemoryStore, TestSink } from "../../unit/agent/memory-store.ts";

export type RoomWay = "in process" | "over gRPC";

export interface MomentsRoom {
  readonly way: RoomWay;
  readonly agent: Agent;
  readonly faults: Faults;
  readonly sink: TestSink;
  /** Opens the way to the agent; before it there is no connection. */
  open(): Promise<House>;
  /** Value of the series with these attributes, added up over all components; undefined if there is none. */
  value(descriptor: InstrumentDescriptor, where?: AttributeValues): number | undefined;
  /** Samples of a histogram. */
  samples(descriptor: InstrumentDescriptor, where?: AttributeValues): number;
  close(): Promise<void>;
}

export async function openMomentsRoom(way: RoomWay): Promise<MomentsRoom> {
  const clock = systemClock;
  const inner = createSqliteMetadata({ path: ":memory:", clock });
  const { metadata, faults } = withFaults(inner);
  const store = new MemoryStore();
  const sink = new TestSink(store);
  const { meterProvider, registries } = capturingProvider();
  const telemetry = { meterProvider };
  const shared = { clock, random: systemRandom, logger: silentLogger };
  const agent = createAgent(
    { ...shared, metadata, store, sink, telemetry },
    { predecessorsDead: true, leaseTtlMs: 60_000, leaseRenewMs: 100, lagRefreshMs: 100 },
  );
  const server = createGrpcServer(
    { api: agent.api, telemetry: agent.telemetry, logger: silentLogger, clock },
    { address: "127.0.0.1:0" },
  );
  const address = way === "over gRPC" ? await server.start() : "";
  await agent.start({ address });
  let house: House | undefined;
  const open = async () => {
    if (way === "over gRPC") house = await connect({ agents: [address], telemetry });
    else {
      const cluster = createCluster(createInProcessTransport(agent.api, shared), shared);
      house = createHouse({ context: { ...shared, cluster, clientId: "test", telemetry } });
    }
    return house;
  };
  return {
    ...{ way, agent, faults, sink, open, ...readings(registries) },
    async close() {
      sink.release();
      faults.release();
      await house?.close();
      await server.stop();
      await agent.stop();
      await inner.close();
    },
  };
}

function readings(registries: readonly MetricRegistry[]): Pick<MomentsRoom, "samples" | "value"> {
  const read = (descriptor: InstrumentDescriptor, where: AttributeValues, samples: boolean) => {
    let sum: number | undefined;
    for (const registry of registries) {
      for (const family of registry.collect()) {
        if (family.descriptor.name !== descriptor.name) continue;
        for (const { attributes, cell } of family.series.values()) {
          if (Object.entries(where).some(([key, it]) => attributes[key] !== it)) continue;
          const own = isHistogram(cell) ? (samples ? cell.count : cell.sum) : cell.value;
          sum = (sum ?? 0) + own;
        }
      }
    }
    return sum;
  };
  return {
    value: (descriptor, where = {}) => read(descriptor, where, false),
    samples: (descriptor, where = {}) => read(descriptor, where, true) ?? 0,
  };
}
