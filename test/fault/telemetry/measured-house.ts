/** A house over one agent in the same process, on a manual clock, with faults to inject and every component's registry at hand. */
import { createCluster } from "../../../src/client/cluster.ts";
import { createInProcessTransport } from "../../../src/client/in-process-transport.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import { createHouse, type House } from "../../../src/house/house.ts";
import type { InstrumentDescriptor } from "../../../src/telemetry/catalogue.ts";
import { isHistogram, type MetricRegistry } from "../../../src/telemetry/cells.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import {
  type BenchAgent,
  memoryMetadata,
  seededRandom,
  startAgent,
} from "../../unit/agent/bench-agent.ts";
import { type Faults, withFaults } from "../faulty-metadata.ts";
import { capturingProvider } from "./sabotage.ts";

export interface MeasuredHouse extends BenchAgent {
  readonly house: House;
  readonly faults: Faults;
  /** One for each component, in the order in which they were made; the agent's first. */
  readonly registries: readonly MetricRegistry[];
  close(): Promise<void>;
}

export async function openMeasuredHouse(seed = 1): Promise<MeasuredHouse> {
  const clock = new ManualClock();
  const { metadata, faults } = withFaults(memoryMetadata(clock));
  const { meterProvider, registries } = capturingProvider();
  const telemetry = { meterProvider };
  const random = seededRandom(seed);
  const bench = await startAgent({
    ...{ clock, metadata, telemetry, random },
    agent: { flushBytes: 400, flushTimeLimitMs: 4_000, leaseTtlMs: 5_000, leaseRenewMs: 1_000 },
  });
  const shared = { clock, random, logger: silentLogger };
  const cluster = createCluster(createInProcessTransport(bench.agent.api, shared), shared);
  const house = createHouse({ context: { ...shared, cluster, clientId: "test", telemetry } });
  const close = async () => {
    await clock.until(house.close());
    await clock.until(bench.agent.stop());
  };
  return { ...bench, house, faults, registries, close };
}

/** What one component, or several, export of an instrument. */
export function totalOf(
  registries: readonly MetricRegistry[],
  descriptor: InstrumentDescriptor,
): number {
  let total = 0;
  for (const registry of registries) {
    for (const family of registry.collect()) {
      if (family.descriptor.name !== descriptor.name) continue;
      for (const { cell } of family.series.values()) {
        total += isHistogram(cell) ? cell.sum : cell.value;
      }
    }
  }
  return total;
}
