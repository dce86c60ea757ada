/** An agent inside the application, and a house over it: no network, the same guarantees. */
import { type Agent, createAgent } from "../agent/agent.ts";
import type { AgentOptions } from "../agent/options.ts";
import { createCluster } from "../client/cluster.ts";
import { createInProcessTransport } from "../client/in-process-transport.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { createUlid, type RandomBytes, systemRandom } from "../core/ids.ts";
import { type Logger, silentLogger } from "../core/logger.ts";
import { createHouse, type House } from "../house/house.ts";
import type { TelemetryOptions } from "../telemetry/telemetry.ts";
import { openMemoryStores, openStores, type StoreOptions } from "./stores.ts";
import { Teardown } from "./teardown.ts";

/** Settings of an agent inside the application. Without `data`, `store` or `metadata` everything is in memory and gone with the process. */
export interface EmbedOptions extends StoreOptions {
  /** Shown in group descriptions and logs. Default `embedded`. */
  readonly clientId?: string | undefined;
  /** Settings of the agent beyond the defaults. */
  readonly agent?: Omit<AgentOptions, "runId" | "address" | "predecessorsDead"> | undefined;
  /** Where metrics and spans go; `false` for nowhere. Default: the globally registered providers. */
  readonly telemetry?: TelemetryOptions | false | undefined;
  /** Default: says nothing. */
  readonly logger?: Logger | undefined;
}

/** What tests put in place of the real world. */
export interface EmbedComponents {
  readonly clock?: Clock | undefined;
  readonly random?: RandomBytes | undefined;
}

/** A house whose agent lives in the same process. `close()` stops the agent too. */
export interface EmbeddedHouse extends House {
  /** The agent behind this house; stopped by `close()`. */
  readonly agent: Agent;
}

/**
 * Starts an agent in this process and opens a house over it.
 * @throws StreamHouseError `DATA_FOLDER_IN_USE`, `DATA_FOLDER_UNUSABLE`, `METADATA_TOO_NEW`, `INVALID_ARGUMENT`,
 * `METADATA_UNAVAILABLE`, `NOT_SUPPORTED` (a package that a URL needs is not installed); nothing stays open then
 */
export async function embed(
  options: EmbedOptions = {},
  components: EmbedComponents = {},
): Promise<EmbeddedHouse> {
  const logger = options.logger ?? silentLogger;
  const clock = components.clock ?? systemClock;
  const random = components.random ?? systemRandom;
  const telemetry = options.telemetry ?? {};
  const teardown = new Teardown(logger);
  try {
    const runId = createUlid(clock.now(), random);
    const components = { clock, logger, teardown };
    const { predecessorsDead, ...stores } =
      (await openStores(options, components)) ?? openMemoryStores(components);
    const agent = createAgent(
      { ...stores, clock, random, logger, telemetry },
      { ...options.agent, runId, predecessorsDead },
    );
    teardown.add("agent", () => agent.stop());
    await agent.start();
    const shared = { clock, random, logger };
    const cluster = createCluster(createInProcessTransport(agent.api, shared), shared);
    const context = { ...shared, cluster, clientId: options.clientId ?? "embedded", telemetry };
    const house = createHouse({ context, release: () => teardown.unwind() });
    return Object.assign(house, { agent });
  } catch (error) {
    await teardown.unwind().catch(() => {});
    throw error;
  }
}
