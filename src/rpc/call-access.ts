/**
 * The port through which a gRPC server asks who may call. The server hands over what it was shown and knows no key; who is let in, and
 * to what, is decided by the agent (`agent/access.ts`). Called by `agent-services.ts` and `agent/server.ts`.
 */
import type { AgentApi } from "./agent-api.ts";

/** What a call shows, and where it is to go. */
export interface ShownCall {
  /** `authorization`, as it came. */
  readonly credential: string | undefined;
  /** `package.Service/Method`. */
  readonly method: string;
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
}

/** Who may call, and what: as a gRPC server asks for it. */
export interface CallAccess {
  /** The agent's API for callers that show a key in `CallContext.credential`: every method refuses what the key has no right to. */
  readonly api: AgentApi;
  /**
   * Lets in whoever shows a key in force, for what asks for no right.
   * @throws StreamHouseError `UNAUTHENTICATED`; `METADATA_UNAVAILABLE`, `OVERLOADED` where it could not be found out
   */
  authenticate(call: ShownCall): Promise<void>;
  /**
   * Opens a stream of Produce calls for whoever shows a key that may produce at all. Each call is judged anew; calls are passed on in the
   * order in which they are made, and at once where nothing must be asked.
   * @throws StreamHouseError as `authenticate`, and `PERMISSION_DENIED`
   */
  openProduceStream(call: ShownCall): Promise<Pick<AgentApi, "produce">>;
}
