/**
 * The same measurements under the names of OpenTelemetry's semantic conventions (the release in `semconv.ts`), for dashboards
 * and backends that know those and not ours. Counted in the same statements as ours. Part of the catalogue.
 * https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/ and .../rpc/rpc-metrics/
 */
import { define, type InstrumentDescriptor } from "./instrument.ts";
import {
  ERROR_TYPE,
  MESSAGING_CONSUMER_GROUP_NAME,
  MESSAGING_DESTINATION_NAME,
  MESSAGING_DESTINATION_PARTITION_ID,
  MESSAGING_OPERATION_NAME,
  MESSAGING_SYSTEM,
  RPC_METHOD,
  RPC_RESPONSE_STATUS_CODE,
  RPC_SYSTEM_NAME,
  SERVER_ADDRESS,
  SERVER_PORT,
} from "./semconv.ts";

export type SemconvInstrumentKey =
  | "sentMessages"
  | "consumedMessages"
  | "operationDuration"
  | "processDuration"
  | "rpcServerCallDuration"
  | "rpcClientCallDuration";

/** The bounds that the conventions advise for durations. */
const CONVENTION_SECONDS: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
];

const MESSAGING = [
  MESSAGING_SYSTEM,
  MESSAGING_OPERATION_NAME,
  MESSAGING_DESTINATION_NAME,
  MESSAGING_DESTINATION_PARTITION_ID,
  MESSAGING_CONSUMER_GROUP_NAME,
  ERROR_TYPE,
] as const;

export const semconvInstruments: Readonly<Record<SemconvInstrumentKey, InstrumentDescriptor>> = {
  sentMessages: define(
    "counter",
    "messaging.client.sent.messages",
    "{message}",
    "Records that went to an agent, with error.type where they failed there",
    MESSAGING,
  ),
  consumedMessages: define(
    "counter",
    "messaging.client.consumed.messages",
    "{message}",
    "Records that were delivered to the application",
    MESSAGING,
  ),
  operationDuration: define(
    "histogram",
    "messaging.client.operation.duration",
    "s",
    "Duration of a send, receive or commit as the client sees it",
    MESSAGING,
    CONVENTION_SECONDS,
  ),
  processDuration: define(
    "histogram",
    "messaging.process.duration",
    "s",
    "Duration of the application's work on a record, by consumer.process()",
    MESSAGING,
    CONVENTION_SECONDS,
  ),
  rpcServerCallDuration: define(
    "histogram",
    "rpc.server.call.duration",
    "s",
    "Duration of a whole call, as the server sees it",
    [RPC_SYSTEM_NAME, RPC_METHOD, RPC_RESPONSE_STATUS_CODE, ERROR_TYPE],
    CONVENTION_SECONDS,
  ),
  rpcClientCallDuration: define(
    "histogram",
    "rpc.client.call.duration",
    "s",
    "Duration of a whole call, as the client sees it",
    [
      RPC_SYSTEM_NAME,
      RPC_METHOD,
      RPC_RESPONSE_STATUS_CODE,
      ERROR_TYPE,
      SERVER_ADDRESS,
      SERVER_PORT,
    ],
    CONVENTION_SECONDS,
  ),
};
