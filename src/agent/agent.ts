/**
 * The agent: takes what producers send, makes it durable, serves it to consumers; holds nothing but leases. This
 * room is its life (start, drain, stop) and composes the others; it knows nothing of gRPC or HTTP. Called by
 * `serve/`, tests, and programs that embed an agent.
 */
import type { Clock } from "../core/clock.ts";
import type { RandomBytes } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { AgentApi } from "../rpc/agent-api.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { SegmentSink } from "../storage/segment-sink.ts";
import type { Telemetry, TelemetryOptions } from "../telemetry/telemetry.ts";
import type { AgentOptions } from "./options.ts";

/** What an agent is made from. Whoever made them closes them, after the agent's `stop()`. */
export interface AgentComponents {
  readonly metadata: MetadataStore;
  readonly store: ObjectStore;
  readonly sink: SegmentSink;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly telemetry: TelemetryOptions | false;
}

/**
 * `starting` not ready yet · `standby` runs and holds no lease · `serving` holds leases · `draining` finishes what was
 * accepted and accepts no more · `stopped`.
 */
export type AgentPhase = "starting" | "standby" | "serving" | "draining" | "stopped";

/** For readiness checks. */
export interface AgentStatus {
  readonly phase: AgentPhase;
  readonly activeLeases: number;
  /** How long every call to metadata has failed; 0 if the last one succeeded. */
  readonly metadataDownForMs: number;
  /** The same for the object store. */
  readonly storeDownForMs: number;
}

export interface Agent {
  readonly agentId: string;
  /** The current run; another after a run was lost. */
  readonly runId: string;
  /** The whole of the agent's service; also what its gRPC server calls. */
  readonly api: AgentApi;
  readonly leaseManager: { activeLeaseCount(): number };
  /** The agent's instruments and tracer, shared with its gRPC server. Closed by `stop()`. */
  readonly telemetry: Telemetry;
  hasActiveLeases(): boolean;
  status(): AgentStatus;
  /** The address that clients are told. Only before `start()`: the real port is known after listen. */
  setAddress(address: string): void;
  /**
   * Registers the run, loads the index and takes leases. Calls of `api` fail with `AGENT_DRAINING` until then.
   * @throws StreamHouseError `METADATA_UNAVAILABLE`, `CLOSED` after `stop()`
   */
  start(options?: { readonly address?: string | undefined }): Promise<void>;
  /** Accepts no more produce calls, commits what was accepted (bounded by `drainTimeoutMs`), then releases the leases. Reads go on. */
  drain(): Promise<void>;
  /** Drains, ends waiting calls and the run. After it nothing of the agent runs. Idempotent. */
  stop(): Promise<void>;
}

/** @throws StreamHouseError `INVALID_ARGUMENT` naming the setting */
export function createAgent(components: AgentComponents, options: AgentOptions = {}): Agent {
  throw new Error(`not yet: ${components.store.kind} ${options.agentId}`);
}
