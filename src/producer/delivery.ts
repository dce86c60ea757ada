/**
 * What is done about a batch that failed: a function of the error, of what is known about the batch, and of idempotence. It decides
 * that nothing is ever written twice and nothing is given up too early. Pure; called by the sender.
 */
import { StreamHouseError } from "../core/errors.ts";

/**
 * `retry` it as it is · `refresh-topic` look the topic up again, then retry · `renew-identity` it was certainly not applied, but
 * the agent does not know the producer (any more): retry under another epoch or id · `give-up` tell the caller.
 */
export type Verdict = "retry" | "refresh-topic" | "renew-identity" | "give-up";

export interface Attempt {
  readonly idempotent: boolean;
  /** An earlier attempt may have been applied. */
  readonly tainted: boolean;
  /** Its topic was looked up again before. */
  readonly topicRefreshed: boolean;
  /** No earlier batch of its partition is unsettled. */
  readonly first: boolean;
}

/** Decides about one failed attempt. */
export function judge(error: StreamHouseError, attempt: Attempt): Verdict {
  // Without sequences a second copy would be written if the first one was: only the caller can decide.
  if (error.outcome === "unknown" && !attempt.idempotent) return "give-up";
  switch (error.code) {
    case "TOPIC_NOT_FOUND":
      return attempt.topicRefreshed ? "give-up" : "refresh-topic";
    case "UNKNOWN_PRODUCER":
      // Nothing of this producer is there (yet): the batches before it must go first.
      if (!attempt.first) return "retry";
      return renewUnlessTainted(attempt);
    case "PRODUCER_FENCED":
      return renewUnlessTainted(attempt);
    case "SEQUENCE_GAP":
      // Not retriable: its sequence was written long ago, and what became of it is not known any more.
      return error.retriable ? "retry" : "give-up";
    case "CLOSED":
      return error.retriable ? "retry" : "give-up";
  }
  // With sequences the second attempt finds out what became of the first.
  if (error.outcome === "unknown") return "retry";
  return canRetry(error) ? "retry" : "give-up";
}

/** Under another id the agent could not tell whether an earlier attempt had arrived. */
function renewUnlessTainted(attempt: Attempt): Verdict {
  return attempt.idempotent && !attempt.tainted ? "renew-identity" : "give-up";
}

/** Whether the same question can be answered another time. */
export function canRetry(error: StreamHouseError): boolean {
  return error.retriable || error.code === "DEADLINE_EXCEEDED";
}

/** Refusals of the agent that holds the partition. */
const HERE: ReadonlySet<string> = new Set(["OVERLOADED", "SEQUENCE_GAP", "UNKNOWN_PRODUCER"]);

/** Whether the next attempt may go to another agent. */
export function mayHaveMoved(error: StreamHouseError): boolean {
  return !HERE.has(error.code) && !comesHere(error);
}

/** The agent has not got the lease yet, and says when to ask it again. */
export function comesHere(error: StreamHouseError): boolean {
  return error.code === "NOT_LEASE_HOLDER" && error.retryAfterMs !== undefined;
}

/** The final error of records whose delivery deadline ended. */
export function deadlineError(
  where: string,
  timeoutMs: number,
  last: StreamHouseError | undefined,
  outcome: "none" | "unknown",
): StreamHouseError {
  const state = outcome === "none" ? "they were not written" : "they may have been written";
  return new StreamHouseError({
    code: "DEADLINE_EXCEEDED",
    kind: "unavailable",
    outcome,
    message:
      `records for ${where} were not acknowledged within ${timeoutMs} ms (${state}). ` +
      (last === undefined
        ? "No attempt had failed: raise deliveryTimeoutMs, or send less at once"
        : `Last failure: ${last.message}`),
    cause: last,
  });
}

/** The final error of records whose producer was closed before they were acknowledged. */
export function closedError(where: string, outcome: "none" | "unknown"): StreamHouseError {
  const state = outcome === "none" ? "they were not written" : "they may have been written";
  return new StreamHouseError({
    code: "CLOSED",
    kind: "closed",
    outcome,
    message: `the producer was closed before records for ${where} were acknowledged: ${state}`,
  });
}

/** The same error with outcome `unknown`: the attempt was refused, but an earlier one may have been applied. */
export function withUnknownOutcome(error: StreamHouseError): StreamHouseError {
  if (error.outcome === "unknown") return error;
  return new StreamHouseError({
    code: error.code,
    kind: error.kind,
    message: `${error.message} (an earlier attempt may have been written)`,
    retriable: error.retriable,
    outcome: "unknown",
    retryAfterMs: error.retryAfterMs,
    field: error.field,
    holderAddress: error.holderAddress,
    cause: error,
  });
}

/** `batches[3].records` of a request that was refused as a whole: 3, the batch at fault. */
export function batchAtFault(error: StreamHouseError): number | undefined {
  const match = /^batches\[(\d+)\]/.exec(error.field ?? "");
  return match === null ? undefined : Number(match[1]);
}
