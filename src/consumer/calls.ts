/** Calls to any agent with a deadline each, tried again with jittered pauses while that can help. Used by every room of the wing. */
import type { Cluster } from "../client/cluster.ts";
import type { AgentConnection } from "../client/transport.ts";
import { type Clock, sleep } from "../core/clock.ts";
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import { backoffMs } from "../core/retry.ts";
import type { CallContext } from "../rpc/agent-api.ts";

export interface CallComponents {
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly random: RandomBytes;
}

/** Time limit of one call, ms. */
export const CALL_TIMEOUT_MS = 10_000;

const BACKOFF = { baseMs: 100, maxMs: 1_000 };

export interface Persistence {
  readonly signal?: AbortSignal | undefined;
  /** Stop trying again after this long, ms. Default: the first error is the answer. */
  readonly patienceMs?: number | undefined;
}

/**
 * Asks any agent. Only for calls that may be applied twice without harm: they are tried again after an unknown outcome too.
 * @throws StreamHouseError the last error
 */
export async function askAny<T>(
  parts: CallComponents,
  ask: (connection: AgentConnection, call: CallContext) => Promise<T>,
  persistence: Persistence = {},
): Promise<T> {
  const { cluster, clock, random } = parts;
  const { signal, patienceMs = 0 } = persistence;
  const until = clock.monotonic() + patienceMs;
  for (let attempt = 1; ; attempt++) {
    try {
      const connection = await cluster.any(signal);
      return await ask(connection, { signal, timeoutMs: CALL_TIMEOUT_MS });
    } catch (thrown) {
      const error = asStreamHouseError(thrown, "a consumer's call");
      cluster.note("", -1, error);
      const pause = Math.max(backoffMs(BACKOFF, attempt, random), error.retryAfterMs ?? 0);
      if (!error.retriable || clock.monotonic() + pause > until || signal?.aborted) throw error;
      await sleep(clock, pause, signal);
    }
  }
}

/** The group no longer knows this member, or has moved on without it: join again. */
export function isFenced(error: unknown): boolean {
  return (
    StreamHouseError.is(error) && (error.code === "GROUP_FENCED" || error.code === "UNKNOWN_MEMBER")
  );
}
