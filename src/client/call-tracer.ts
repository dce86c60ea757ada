/**
 * Client spans of unary calls, with the trace's context in the call. Only for calls that an application waits for, and only while a
 * span that is recorded is active: what runs in the background (heartbeats, waiting fetches, look-ups) asks the connection itself
 * and has none. Used by the admin client and the consumer's questions.
 */
import { trace } from "@opentelemetry/api";
import { asStreamHouseError } from "../core/errors.ts";
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import { unaryMethods } from "../rpc/methods.ts";
import { grpcStatusName, grpcStatusOf } from "../rpc/status.ts";
import { traceFields } from "../telemetry/propagation.ts";
import { endCall, startCallSpan } from "../telemetry/rpc-spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { agentMethods } from "./agent-methods.ts";
import type { AgentConnection } from "./transport.ts";

type Method = (request: unknown, call: CallContext) => Promise<unknown>;

export class CallTracer {
  readonly #telemetry: Telemetry;
  readonly #traced = new WeakMap<AgentConnection, AgentApi>();

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
  }

  /** The connection's calls, with a span each if there is a trace to put them into. */
  api(connection: AgentConnection): AgentApi {
    if (!this.#telemetry.enabled || !trace.getActiveSpan()?.isRecording()) return connection.api;
    let traced = this.#traced.get(connection);
    if (traced === undefined) {
      traced = this.#trace(connection);
      this.#traced.set(connection, traced);
    }
    return traced;
  }

  #trace({ api, address }: AgentConnection): AgentApi {
    const traced: Record<string, Method> = {};
    for (const name of agentMethods) {
      const path = unaryMethods[name].path.slice(1);
      traced[name] = (request, call) =>
        this.#call(path, address, call, (it) => (api[name] as Method)(request, it));
    }
    return traced as unknown as AgentApi;
  }

  async #call(
    path: string,
    address: string,
    call: CallContext,
    send: (call: CallContext) => Promise<unknown>,
  ): Promise<unknown> {
    const span = startCallSpan(this.#telemetry, path, address);
    try {
      const answer = await send({ ...call, ...traceFields(span?.spanContext()) });
      endCall(span, "client", "OK");
      return answer;
    } catch (thrown) {
      const error = asStreamHouseError(thrown, path);
      endCall(span, "client", grpcStatusName(grpcStatusOf(error)), error);
      throw thrown;
    }
  }
}
