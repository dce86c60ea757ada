/** A producer over fake agents and a clock that the test owns. */
import type { ClientContext } from "../../../src/client/client-context.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import type { RandomBytes } from "../../../src/core/ids.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import type { ProducerOptions } from "../../../src/producer/options.ts";
import { createProducer, type Producer } from "../../../src/producer/producer.ts";
import type { TelemetryOptions } from "../../../src/telemetry/telemetry.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { FakeCluster } from "./fake-agents.ts";

/** Random bytes that are the same in each run. */
export function seededRandom(seed: number): RandomBytes {
  let state = seed | 1;
  return (into) => {
    for (let i = 0; i < into.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      into[i] = state & 255;
    }
    return into;
  };
}

export interface Setup {
  readonly cluster: FakeCluster;
  readonly clock: ManualClock;
  readonly producer: Producer;
}

export function setUp(
  options: ProducerOptions = {},
  more: {
    readonly agents?: number;
    readonly seed?: number;
    readonly telemetry?: TelemetryOptions | false;
  } = {},
): Setup {
  const cluster = new FakeCluster(more.agents);
  const clock = new ManualClock();
  const context: ClientContext = {
    cluster,
    clock,
    random: seededRandom(more.seed ?? 7),
    logger: silentLogger,
    clientId: "test",
    telemetry: more.telemetry ?? false,
  };
  return { cluster, clock, producer: createProducer(context, options) };
}

/** How a promise ended; the rejection counts as handled. */
export type Ending<T> = { readonly value: T } | { readonly error: unknown };

export function watch<T>(promise: Promise<T>): { ending: Ending<T> | undefined } {
  const watched: { ending: Ending<T> | undefined } = { ending: undefined };
  promise.then(
    (value) => {
      watched.ending = { value };
    },
    (error: unknown) => {
      watched.ending = { error };
    },
  );
  return watched;
}

/** The error that a watched promise ended with. */
export function errorOf(watched: {
  readonly ending: Ending<unknown> | undefined;
}): StreamHouseError {
  const { ending } = watched;
  if (ending === undefined) throw new Error("it has not settled");
  if (!("error" in ending)) throw new Error(`it succeeded: ${JSON.stringify(ending.value)}`);
  if (!StreamHouseError.is(ending.error)) throw ending.error;
  return ending.error;
}

/** The value that a watched promise ended with. */
export function resultOf<T>(watched: { readonly ending: Ending<T> | undefined }): T {
  const { ending } = watched;
  if (ending === undefined) throw new Error("it has not settled");
  if ("error" in ending) throw ending.error;
  return ending.value;
}
