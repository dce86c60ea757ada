/** A whole house in memory for tests: agent, stores, producers and consumers in one process, in a few milliseconds. */
import type { Clock } from "../core/clock.ts";
import type { RandomBytes } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import { type EmbeddedHouse, type EmbedOptions, embed } from "../serve/embed.ts";
import type { TelemetryOptions } from "../telemetry/telemetry.ts";

/** What a test puts in place of the defaults. */
export interface TestHouseOptions {
  /** For instance a `ManualClock`. Default: the real one. */
  readonly clock?: Clock | undefined;
  /** For tests that must repeat exactly. Default: the platform's generator. */
  readonly random?: RandomBytes | undefined;
  /** Topics to begin with: a name for one partition, or name and count. */
  readonly topics?: readonly string[] | Readonly<Record<string, number>> | undefined;
  /** Settings of the agent. */
  readonly agent?: EmbedOptions["agent"];
  /** Default: `false`, nothing is measured. */
  readonly telemetry?: TelemetryOptions | false | undefined;
  readonly logger?: Logger | undefined;
}

/**
 * Opens a house whose agent and stores are in memory. Close it (`await using`) at the end of the test.
 * @throws StreamHouseError `INVALID_TOPIC_NAME`, `INVALID_ARGUMENT`
 */
export async function createTestHouse(options: TestHouseOptions = {}): Promise<EmbeddedHouse> {
  const { clock, random, topics = [], telemetry = false, ...rest } = options;
  const house = await embed({ clientId: "test", telemetry, ...rest }, { clock, random });
  const wanted: readonly (readonly [string, number])[] = isList(topics)
    ? topics.map((name) => [name, 1] as const)
    : Object.entries(topics);
  try {
    for (const [name, partitions] of wanted) await house.admin.createTopic(name, { partitions });
  } catch (error) {
    await house.close().catch(() => {});
    throw error;
  }
  return house;
}

function isList(
  topics: readonly string[] | Readonly<Record<string, number>>,
): topics is readonly string[] {
  return Array.isArray(topics);
}
