/**
 * Settings of gRPC connections, both ends, in one place: message limits, windows, keepalive, reconnecting, security. Used by
 * `agent/server.ts` and `client/grpc-connection.ts`.
 */
import { ChannelCredentials, type ChannelOptions, Client, ServerCredentials } from "@grpc/grpc-js";
import { limits } from "../core/limits.ts";
import { type ClientSecurity, TlsChannelCredentials } from "./tls-gate.ts";

/** A silent peer is asked whether it lives after this long, and given up after `KEEPALIVE_TIMEOUT_MS` more. */
export const KEEPALIVE_TIME_MS = 10_000;
export const KEEPALIVE_TIMEOUT_MS = 5_000;

const messageLimits: ChannelOptions = {
  // Both set: the default for receiving is 4 MiB, and a sender without a limit of its own finds out late.
  "grpc.max_receive_message_length": limits.messageBytesMax,
  "grpc.max_send_message_length": limits.messageBytesMax,
  // Its bookkeeping costs time on every message, and nothing here reads it.
  "grpc.enable_channelz": 0,
};

export interface KeepaliveOptions {
  readonly keepaliveTimeMs?: number | undefined;
  readonly keepaliveTimeoutMs?: number | undefined;
}

/** Options of a client's channel. */
export function clientChannelOptions(options: KeepaliveOptions = {}): ChannelOptions {
  return {
    ...messageLimits,
    "grpc-node.flow_control_window": limits.http2WindowBytes,
    // Only while calls are open. Without it a Deno client waits for ever for a server that went away after a GOAWAY.
    "grpc.keepalive_time_ms": options.keepaliveTimeMs ?? KEEPALIVE_TIME_MS,
    "grpc.keepalive_timeout_ms": options.keepaliveTimeoutMs ?? KEEPALIVE_TIMEOUT_MS,
    // Sending again is decided above, by outcome. It would also keep a copy of every message until its call is over.
    "grpc.enable_retries": 0,
    // Even so the library buffers this much of each call (1 MiB) and reports it as written, past all flow control.
    "grpc.per_rpc_retry_buffer_size": 0,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    // Connections belong to the transport that made them, and end with it.
    "grpc.use_local_subchannel_pool": 1,
    // A proxy variable that was meant for the web, and TXT records of a DNS zone, must not redirect a log's traffic.
    "grpc.enable_http_proxy": 0,
    "grpc.service_config_disable_resolution": 1,
  };
}

/** Options of an agent's server. */
export function serverChannelOptions(options: KeepaliveOptions = {}): ChannelOptions {
  return {
    ...messageLimits,
    "grpc.max_concurrent_streams": limits.inFlightPerConnectionMax,
    // Finds clients that vanished without closing, so that their connections do not count for ever.
    "grpc.keepalive_time_ms": options.keepaliveTimeMs ?? 3 * KEEPALIVE_TIME_MS,
    "grpc.keepalive_timeout_ms": options.keepaliveTimeoutMs ?? 2 * KEEPALIVE_TIMEOUT_MS,
  };
}

/** A client for `host:port`, over plain TCP without `security`. It connects with the first call. */
export function createChannelClient(
  address: string,
  options: KeepaliveOptions = {},
  security?: ClientSecurity,
): Client {
  const credentials =
    security === undefined
      ? ChannelCredentials.createInsecure()
      : new TlsChannelCredentials(security, hostOf(address));
  return new Client(address, credentials, clientChannelOptions(options));
}

/** What a server listens with for plain TCP; for TLS: `tls-gate.ts`. */
export function serverCredentials(): ServerCredentials {
  return ServerCredentials.createInsecure();
}

/** The host of `host:port`, without the brackets of an IPv6 address. */
export function hostOf(address: string): string {
  return address.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}
