/** The span of one request to an agent. Made and ended by `requests.ts`. */
import type { StreamHouseError } from "../core/errors.ts";
import type { BatchResult } from "../rpc/gen/streamhouse/v1/producer.ts";
import type { ProducerBatch } from "./batch.ts";

export interface RequestTrace {
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  answered(results: readonly BatchResult[]): void;
  failed(error: StreamHouseError): void;
}

export interface RequestTracing {
  request(
    cargo: readonly { readonly batch: ProducerBatch }[],
    address: string,
  ): RequestTrace | undefined;
}
