/**
 * Refused calls: the error that the caller gets, a count, a line in the log now and then, an event on a span where the caller has a trace.
 * Never says what was shown: only the public id of a key that was found good. Called by `access.ts`.
 */
import type { Clock } from "../core/clock.ts";
import { asStreamHouseError, invalid, StreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { ShownCall } from "../rpc/call-access.ts";
import { grpcStatusName, grpcStatusOf } from "../rpc/status.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import { endCall, startServerSpan } from "../telemetry/rpc-spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { MissingRight } from "./access-rules.ts";
import type { Principal, Stranger } from "./key-ring.ts";

export interface RefusalsComponents {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
}

/** The values of the label `reason`. */
export type RefusalReason = Stranger | "denied" | "unavailable";

/** A flood of refused calls is not to be one of log lines. */
const LINES_MAX = 10;
const LINES_MS = 10_000;

export class Refusals {
  readonly #parts: RefusalsComponents;
  #linesSince = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #unsaid = 0;

  constructor(components: RefusalsComponents) {
    this.#parts = components;
  }

  /** Whoever calls is nobody. */
  stranger(call: ShownCall, why: Stranger): StreamHouseError {
    return this.#refused(call, why, invalid("UNAUTHENTICATED", strangerText[why]), {});
  }

  /** Whoever calls has no right to it. */
  denied(call: ShownCall, principal: Principal, missing: MissingRight): StreamHouseError {
    const { keyId, name } = principal;
    const right = missingText(missing);
    const message =
      `API key ${keyId} (${name}) may not call ${call.method.slice(call.method.lastIndexOf(".") + 1)}: ` +
      `it has not the right ${right}; use a key that has it, or have one made`;
    return this.#refused(call, "denied", invalid("PERMISSION_DENIED", message), {
      ...{ keyId, name, right },
    });
  }

  /** It could not be found out who calls. */
  unavailable(call: ShownCall, thrown: unknown): StreamHouseError {
    const error = asStreamHouseError(thrown, "looking for the API key");
    return this.#refused(call, "unavailable", untold(error), { error: error.message });
  }

  #refused(
    call: ShownCall,
    reason: RefusalReason,
    error: StreamHouseError,
    fields: Readonly<Record<string, string>>,
  ): StreamHouseError {
    const { telemetry } = this.#parts;
    telemetry.metrics.counter(catalogue.accessRefused, { reason }).add(1);
    if (call.traceparent) {
      const span = startServerSpan(telemetry, call.method, call);
      const { keyId } = fields;
      span?.addEvent("streamhouse.access.refused", {
        "streamhouse.access.reason": reason,
        ...(keyId === undefined ? {} : { "streamhouse.access.key_id": keyId }),
      });
      endCall(span, "server", grpcStatusName(grpcStatusOf(error)), error);
    }
    this.#say({ method: call.method, reason, ...fields });
    return error;
  }

  #say(fields: Readonly<Record<string, string>>): void {
    const { clock, logger } = this.#parts;
    const now = clock.monotonic();
    if (now - this.#linesSince >= LINES_MS) {
      this.#linesSince = now;
      this.#lines = 0;
    }
    if (this.#lines >= LINES_MAX) {
      this.#unsaid++;
      return;
    }
    this.#lines++;
    const unsaid = this.#unsaid;
    this.#unsaid = 0;
    logger.warn("a call was refused", { ...fields, ...(unsaid > 0 ? { unsaid } : {}) });
  }
}

/** Whoever calls may be anybody: where metadata is and what is wrong with it stands in the log, and is told to keys that are known. */
function untold(error: StreamHouseError): StreamHouseError {
  if (error.code === "OVERLOADED") return error;
  const { code, kind, retriable, retryAfterMs } = error;
  const message =
    "it could not be found out whose API key this is: try again, and look into the agent's log if it goes on";
  return new StreamHouseError({ code, kind, retriable, retryAfterMs, message });
}

const strangerText: Readonly<Record<Stranger, string>> = {
  missing:
    "this agent takes no call without an API key: give one to connect() as apiKey, to the command line as STREAMHOUSE_API_KEY, " +
    "or send `authorization: Bearer sh_…`",
  malformed:
    "what came as authorization is no API key: expected `Bearer sh_<id>_<secret>`, whole and without spaces",
  unknown:
    "this API key is not known: it was revoked or is mistyped, or belongs to another cluster",
  expired: "this API key has expired: have another made",
};

function missingText({ actions, topic, group, everywhere }: MissingRight): string {
  const action = actions.join(" or ");
  if (everywhere) return `${action} for every topic`;
  if (group !== undefined) return `${action} for each topic of group ${quoted(group)}`;
  return topic === undefined ? `${action} for any topic` : `${action} for topic ${quoted(topic)}`;
}

/** Names come from clients. */
function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 60));
}
