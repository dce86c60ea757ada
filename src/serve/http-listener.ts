/**
 * Listens for HTTP on whichever runtime this is and passes requests to a `fetch` handler: `Bun.serve`, `Deno.serve` and Node's
 * server, through srvx. It installs no signal handler and prints nothing. Called by `serve.ts`.
 */
import { serve as listen } from "srvx";
import { StreamHouseError } from "../core/errors.ts";
import {
  checkAddressIsFree,
  formatAddress,
  listenError,
  parseAddress,
} from "../rpc/address-gate.ts";

export interface HttpListener {
  /** `http://host:port`, with the real port. */
  readonly url: string;
  /** Takes no new connections, gives requests under way `graceMs`, then breaks what is left. Idempotent. */
  stop(): Promise<void>;
}

/** Scrapes are short: one that takes longer than this is broken off at the stop. */
const graceMs = 1_000;

/** Bodies are not read by any path of ours; this is the most that is taken before a request is refused. */
const bodyBytesMax = 65_536;

/** @throws StreamHouseError `ADDRESS_IN_USE`, `INVALID_ARGUMENT` */
export async function listenHttp(
  handler: (request: Request) => Promise<Response>,
  address: string,
): Promise<HttpListener> {
  const { host, port } = parseAddress(address);
  // Bun and Deno can share a port that is taken, and srvx reports a failure differently on each: ask first.
  await checkAddressIsFree({ host, port });
  try {
    const server = await listen({
      fetch: handler,
      hostname: host,
      port,
      silent: true,
      // Signals are the application's: `serve({ signals: true })` handles them for the whole agent.
      gracefulShutdown: false,
      maxRequestBodySize: bodyBytesMax,
    }).ready();
    const real = Number(new URL(server.url ?? "http://localhost:0").port);
    let stopping: Promise<void> | undefined;
    return {
      url: `http://${formatAddress(host, real === 0 ? 80 : real)}`,
      stop: () => {
        stopping ??= stopServer(server);
        return stopping;
      },
    };
  } catch (error) {
    if (StreamHouseError.is(error)) throw error;
    throw listenError(address, error as { code?: string } & Error);
  }
}

async function stopServer(server: { close(closeAll?: boolean): Promise<void> }): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const grace = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), graceMs);
  });
  const ended = await Promise.race([server.close().then(() => "closed" as const), grace]);
  clearTimeout(timer);
  if (ended === "late") await Promise.race([server.close(true), delay(graceMs)]);
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
