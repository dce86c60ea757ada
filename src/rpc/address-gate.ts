/**
 * Whether an address can be listened on, asked before grpc-js listens there. grpc-js is content when one of a host name's addresses
 * is free (a second agent on `localhost` would listen on the other one, and half of the clients would find the wrong
 * agent), says why it failed in free text only, and prints to the console. Used by `agent/server.ts`.
 */
import { lookup } from "node:dns/promises";
import { createServer } from "node:net";
import { invalid, StreamHouseError } from "../core/errors.ts";

export interface HostAndPort {
  readonly host: string;
  /** 0 stands for any free port. */
  readonly port: number;
}

/**
 * Takes `host:port` apart; IPv6 addresses stand in brackets: `[::1]:7070`.
 * @throws StreamHouseError `INVALID_ARGUMENT` (field `address`)
 */
export function parseAddress(address: string): HostAndPort {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port <= 65_535) return { host, port };
  throw invalid(
    "INVALID_ARGUMENT",
    `${JSON.stringify(address.slice(0, 80))} is not an address to listen on: use host:port, for instance ` +
      "127.0.0.1:7070 or [::1]:7070, port 0 for any free one",
    { field: "address" },
  );
}

/** The text of an address, with brackets for IPv6. */
export function formatAddress(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Resolves if every address that `host` stands for can be listened on now.
 * @throws StreamHouseError `ADDRESS_IN_USE`; `INVALID_ARGUMENT` (field `address`) if the host is not this machine or the port is not allowed
 */
export async function checkAddressIsFree({ host, port }: HostAndPort): Promise<void> {
  const text = formatAddress(host, port);
  const found = await lookup(host, { all: true }).catch((error) => {
    throw listenError(text, error as NodeJS.ErrnoException);
  });
  // A free port is chosen later: only the host can be wrong.
  for (const { address } of found) await tryListen(address, port, text);
}

function tryListen(host: string, port: number, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      // A host name's IPv6 address on a machine without IPv6 is no obstacle: the others are listened on.
      if (host.includes(":") && !text.startsWith("[") && error.code === "EADDRNOTAVAIL") resolve();
      else reject(listenError(text, error));
    });
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()));
  });
}

/** Why listening failed, and what to do. */
export function listenError(address: string, error: NodeJS.ErrnoException): StreamHouseError {
  if (error.code === "EADDRINUSE") {
    return new StreamHouseError({
      code: "ADDRESS_IN_USE",
      kind: "conflict",
      message:
        `cannot listen on ${address}: something else does already; stop it (is another agent running?), ` +
        "or choose another port (0 takes any free one)",
      cause: error,
    });
  }
  const advice =
    error.code === "EACCES"
      ? "ports below 1024 need rights of their own; choose a higher one"
      : "use an address of this machine, 127.0.0.1 for itself only or 0.0.0.0 for all of them";
  return invalid(
    "INVALID_ARGUMENT",
    `cannot listen on ${address}: ${error.code ?? error.message}; ${advice}`,
    { field: "address", cause: error },
  );
}
