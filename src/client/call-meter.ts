/**
 * `rpc.client.call.duration`: whole calls over gRPC, from the request to the status, by method and status. A ProduceStream is one call.
 * https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/#metric-rpcclientcallduration. Made by `grpc-transport.ts`, one for
 * each connection.
 */
import type { Clock } from "../core/clock.ts";
import { grpcStatus, grpcStatusName } from "../rpc/status.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { HistogramCell, MetricRegistry } from "../telemetry/cells.ts";
import * as semconv from "../telemetry/semconv.ts";

export class CallMeter {
  readonly #registry: MetricRegistry;
  readonly #clock: Clock;
  readonly #server: Record<string, string | number>;
  readonly #cells = new Map<string, HistogramCell>();

  constructor(registry: MetricRegistry, clock: Clock, address: string) {
    this.#registry = registry;
    this.#clock = clock;
    this.#server = semconv.serverAttributes(address);
  }

  /** A call begins. `path`: `/package.Service/Method`. Answers what to call with its gRPC status. */
  begin(path: string): (status: number) => void {
    const began = this.#clock.monotonic();
    return (status) => {
      this.#cell(path, status).record((this.#clock.monotonic() - began) / 1_000);
    };
  }

  #cell(path: string, status: number): HistogramCell {
    const key = `${status} ${path}`;
    let cell = this.#cells.get(key);
    if (cell === undefined) {
      const name = grpcStatusName(status);
      cell = this.#registry.histogram(catalogue.rpcClientCallDuration, {
        [semconv.RPC_SYSTEM_NAME]: "grpc",
        [semconv.RPC_METHOD]: path.slice(1),
        [semconv.RPC_RESPONSE_STATUS_CODE]: name,
        ...(status !== grpcStatus.OK && { [semconv.ERROR_TYPE]: name }),
        ...this.#server,
      });
      this.#cells.set(key, cell);
    }
    return cell;
  }
}
