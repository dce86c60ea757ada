/**
 * Calls to any agent, with a deadline each, tried again with jittered pauses while that can help. Used by every room of the
 * wing but the fetch loop, which asks particular agents.
 */
import type { CallTracer } from "../client/call-tracer.ts";
import type { Cluster } from "../client/cluster.ts";
import { type Clock, sleep } from "../core/clock.ts";
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import { backoffMs } from "../core/retry.ts";
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";

export interface CallComponents {
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** Deadline of each call, ms. */
  readonly requestTimeoutMs: number;
  /** For questions that the application waits for: their client spans. */
  readonly tracer?: CallTracer | undefined;
  /** A request is about to be sent again because of this. Only counts. */
  readonly onRetry: (error: StreamHouseError) => void;
}

/** Pauses between tries, of calls and of fetches. */
export const BACKOFF = { baseMs: 100, maxMs: 1_000 } as const;

export interface Persistence {
  readonly signal?: AbortSignal | undefined;
  /** Stop trying again after this long, ms. Default: the first error is the answer. */
  readonly patienceMs?: number | undefined;
  /**
   * An agent that does not answer for so long is left for another, ms. Default (and at most): `requestTimeoutMs`. For what must not
   * hang as long as an agent does, because a session or a rebalance would end meanwhile.
   */
  readonly callTimeoutMs?: number | undefined;
}

/**
 * Asks any agent. Only for calls that may be applied twice without harm: they are tried again after an unknown outcome too.
 * @throws StreamHouseError the last error
 */
export function askAny<T>(
  parts: CallComponents,
  ask: (agent: { readonly api: AgentApi }, call: CallContext) => Promise<T>,
  persistence: Persistence = {},
): Promise<T> {
  const { cluster, requestTimeoutMs, tracer } = parts;
  const { signal, callTimeoutMs = requestTimeoutMs } = persistence;
  const timeoutMs = Math.min(requestTimeoutMs, callTimeoutMs);
  return persist(
    parts,
    async () => {
      try {
        const connection = await cluster.any(signal);
        const api = tracer?.api(connection) ?? connection.api;
        return await ask({ api }, { signal, timeoutMs });
      } catch (error) {
        // About the agent that `any()` answered: the next question goes elsewhere.
        cluster.note("", -1, error);
        throw error;
      }
    },
    persistence,
  );
}

/** Runs `attempt` until it succeeds, fails for good, or patience is over. @throws StreamHouseError the last error */
export async function persist<T>(
  parts: CallComponents,
  attempt: () => Promise<T>,
  persistence: Persistence,
): Promise<T> {
  const { clock, random, onRetry } = parts;
  const { signal, patienceMs = 0 } = persistence;
  const until = clock.monotonic() + patienceMs;
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (thrown) {
      const error = asStreamHouseError(thrown, "a consumer's call");
      const pause = Math.max(backoffMs(BACKOFF, tries, random), error.retryAfterMs ?? 0);
      if (!error.retriable || clock.monotonic() + pause > until || signal?.aborted) throw error;
      onRetry(error);
      await sleep(clock, pause, signal).catch(() => {
        throw error;
      });
    }
  }
}

/** The group no longer knows this member, or has moved on without it: join again. */
export function isFenced(error: unknown): boolean {
  return (
    StreamHouseError.is(error) && (error.code === "GROUP_FENCED" || error.code === "UNKNOWN_MEMBER")
  );
}
