/**
 * What a gRPC server measures: connections, calls, frames. Calls are counted by what was sent on the wire (`http2-gate.ts`), so that
 * deadlines, refused messages and unknown methods count too; frames of a `ProduceStream` by their answers, and the stream itself as one
 * call under the convention's name. Used by `agent/server.ts`.
 */
import type { Clock } from "../core/clock.ts";
import { limits } from "../core/limits.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { CounterCell, HistogramCell, UpDownCell } from "../telemetry/cells.ts";
import {
  ERROR_TYPE,
  RPC_METHOD,
  RPC_RESPONSE_STATUS_CODE,
  RPC_SYSTEM_NAME,
} from "../telemetry/semconv.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Http2GateListener } from "./http2-gate.ts";
import { produceStreamMethod } from "./methods.ts";
import { grpcStatus, grpcStatusName } from "./status.ts";

/** Label of methods that this server does not have: what a client sends never becomes a label value. */
const OTHER = "_OTHER";

/**
 * Statuses that are the server's failure; others are the caller's mistake or wish.
 * https://opentelemetry.io/docs/specs/semconv/rpc/grpc/#server
 */
const serverErrors: ReadonlySet<number> = new Set([
  grpcStatus.UNKNOWN,
  grpcStatus.DEADLINE_EXCEEDED,
  grpcStatus.UNIMPLEMENTED,
  grpcStatus.INTERNAL,
  grpcStatus.UNAVAILABLE,
  grpcStatus.DATA_LOSS,
]);

/** One method's cells, found once. */
interface MethodCells {
  /** `streamhouse.grpc.*`: calls, and the frames of streams. */
  readonly duration: HistogramCell;
  readonly byStatus: (CounterCell | undefined)[];
  /** `rpc.server.call.duration`: whole calls, a stream as one. */
  readonly calls: (HistogramCell | undefined)[];
}

export class CallMetrics implements Http2GateListener {
  readonly #telemetry: Telemetry;
  readonly #clock: Clock;
  readonly #connections: UpDownCell;
  readonly #methods = new Map<string, MethodCells>();
  readonly #known: ReadonlySet<string>;
  #open = 0;
  /** Why the address could not be listened on. */
  listenFailure: NodeJS.ErrnoException | undefined;

  /** `paths`: every path that the server answers, `/package.Service/Method`. */
  constructor(telemetry: Telemetry, clock: Clock, paths: Iterable<string>) {
    this.#telemetry = telemetry;
    this.#clock = clock;
    this.#known = new Set(paths);
    this.#connections = telemetry.metrics.upDown(catalogue.activeConnections);
  }

  connected(): boolean {
    if (this.#open >= limits.connectionsMax) return false;
    this.#open++;
    this.#connections.add(1);
    return true;
  }

  disconnected(): void {
    this.#open--;
    this.#connections.add(-1);
  }

  called(path: string): (status: number | undefined) => void {
    const startedAt = this.#clock.monotonic();
    return (sent) => {
      const status = sent ?? grpcStatus.CANCELLED;
      this.#recordCall(path, status, startedAt);
      // A stream's frames are counted one by one; the stream counts only when a frame broke it.
      if (path === produceStreamMethod.path && !brokenByFrame(status)) return;
      this.#count(path, status, startedAt);
    };
  }

  listenFailed(error: NodeJS.ErrnoException): void {
    this.listenFailure ??= error;
  }

  /** A request frame of a `ProduceStream` came; called again with its status when it was answered. */
  frame(): (status: number) => void {
    const startedAt = this.#clock.monotonic();
    return (status) => this.#count(produceStreamMethod.path, status, startedAt);
  }

  #count(path: string, status: number, startedAt: number): void {
    const cells = this.#cells(path);
    let counter = cells.byStatus[status];
    if (counter === undefined) {
      const labels = { method: this.#label(path), status: grpcStatusName(status) };
      counter = this.#telemetry.metrics.counter(catalogue.grpcRequests, labels);
      cells.byStatus[status] = counter;
    }
    counter.add(1);
    cells.duration.record((this.#clock.monotonic() - startedAt) / 1_000);
  }

  #recordCall(path: string, status: number, startedAt: number): void {
    const { calls } = this.#cells(path);
    let duration = calls[status];
    if (duration === undefined) {
      const name = grpcStatusName(status);
      duration = this.#telemetry.metrics.histogram(catalogue.rpcServerCallDuration, {
        [RPC_SYSTEM_NAME]: "grpc",
        [RPC_METHOD]: this.#label(path),
        [RPC_RESPONSE_STATUS_CODE]: name,
        ...(serverErrors.has(status) && { [ERROR_TYPE]: name }),
      });
      calls[status] = duration;
    }
    duration.record((this.#clock.monotonic() - startedAt) / 1_000);
  }

  #label(path: string): string {
    return this.#known.has(path) ? path.slice(1) : OTHER;
  }

  #cells(path: string): MethodCells {
    const method = this.#label(path);
    let cells = this.#methods.get(method);
    if (cells === undefined) {
      const duration = this.#telemetry.metrics.histogram(catalogue.grpcRequestDuration, { method });
      cells = { duration, byStatus: [], calls: [] };
      this.#methods.set(method, cells);
    }
    return cells;
  }
}

/** The client's leaving and the agent's draining are nobody's failed request. */
function brokenByFrame(status: number): boolean {
  return (
    status !== grpcStatus.OK && status !== grpcStatus.CANCELLED && status !== grpcStatus.UNAVAILABLE
  );
}
