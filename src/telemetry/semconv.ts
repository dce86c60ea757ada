/**
 * Names that others decide: OpenTelemetry's semantic conventions (the release in `SCHEMA_URL`) and the scope under which
 * everything here is reported. They are copied because the conventions' messaging and RPC parts are still renamed
 * between releases: a rename is then one line here.
 */

/** Name of the meter and the tracer. */
export const SCOPE_NAME = "@streamhouse/streamhouse";
export const SCHEMA_URL = "https://opentelemetry.io/schemas/1.40.0";

export const MESSAGING_SYSTEM = "messaging.system";
export const MESSAGING_SYSTEM_VALUE = "streamhouse";
export const MESSAGING_OPERATION_NAME = "messaging.operation.name";
export const MESSAGING_OPERATION_TYPE = "messaging.operation.type";
export const MESSAGING_DESTINATION_NAME = "messaging.destination.name";
/** A string by the conventions. */
export const MESSAGING_DESTINATION_PARTITION_ID = "messaging.destination.partition.id";
export const MESSAGING_CONSUMER_GROUP_NAME = "messaging.consumer.group.name";
export const MESSAGING_BATCH_MESSAGE_COUNT = "messaging.batch.message_count";
export const MESSAGING_MESSAGE_BODY_SIZE = "messaging.message.body.size";
export const RPC_SYSTEM_NAME = "rpc.system.name";
export const RPC_METHOD = "rpc.method";
export const ERROR_TYPE = "error.type";
/**
 * The gRPC code's name, for example `UNAVAILABLE`. Named `rpc.grpc.status_code` (a number) before 1.39 of the conventions: this is
 * the one place to change.
 */
export const RPC_RESPONSE_STATUS_CODE = "rpc.response.status_code";
/** Our own code of a failed call, where `error.type` is the gRPC status by the conventions. */
export const STREAMHOUSE_ERROR_CODE = "streamhouse.error.code";
export const SERVER_ADDRESS = "server.address";
export const SERVER_PORT = "server.port";

/** The one series that a full family folds into, by the metrics SDK's specification. */
export const METRIC_OVERFLOW = "otel.metric.overflow";

/**
 * `server.address` and `server.port` of an agent's `host:port`; an address without a port (`in-process`) is all address.
 * https://opentelemetry.io/docs/specs/semconv/registry/attributes/server/
 */
export function serverAttributes(address: string): Record<string, string | number> {
  const match = /^(.+):(\d{1,5})$/.exec(address);
  if (match === null) return { [SERVER_ADDRESS]: address };
  const [, host = "", port] = match;
  // Brackets are how an IPv6 address is written beside a port; they are no part of it.
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
  return { [SERVER_ADDRESS]: bare, [SERVER_PORT]: Number(port) };
}
