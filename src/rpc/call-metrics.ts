/**
 * What a gRPC server measures: connections, calls, frames. Calls are counted by what was sent on the wire (`http2-gate.ts`), so that
 * deadlines, refused messages and unknown methods count too; frames of a `ProduceStream` by their answers. Used by `agent/server.ts`.
 */
import type { Clock } from "../core/clock.ts";
import { limits } from "../core/limits.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { CounterCell, HistogramCell, UpDownCell } from "../telemetry/cells.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Http2GateListener } from "./http2-gate.ts";
import { produceStreamMethod } from "./methods.ts";
import { grpcStatus, grpcStatusName } from "./status.ts";

/** Label of methods that this server does not have: what a client sends never becomes a label value. */
const OTHER = "_OTHER";

/** One method's cells, found once. */
interface MethodCells {
  readonly duration: HistogramCell;
  readonly byStatus: (CounterCell | undefined)[];
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

  #label(path: string): string {
    return this.#known.has(path) ? path.slice(1) : OTHER;
  }

  #cells(path: string): MethodCells {
    const method = this.#label(path);
    let cells = this.#methods.get(method);
    if (cells === undefined) {
      const duration = this.#telemetry.metrics.histogram(catalogue.grpcRequestDuration, { method });
      cells = { duration, byStatus: [] };
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
