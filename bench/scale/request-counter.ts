/**
 * An HTTP proxy in front of the bucket that counts what is really asked of it, by what it costs: retries, hedged writes and listings
 * too. It changes nothing (the signature covers the host's name, so that is passed on as it came).
 */
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** As the price list has them: `PUT`, `POST` and `LIST` cost one price, `GET` and `HEAD` another, `DELETE` nothing. */
export type RequestKind = "PUT" | "POST" | "LIST" | "GET" | "HEAD" | "DELETE";

export type RequestCounts = Readonly<Record<RequestKind, number>>;

export interface RequestCounter {
  /** `http://127.0.0.1:port`. */
  readonly endpoint: string;
  /** Since its start. */
  counts(): RequestCounts;
  stop(): Promise<void>;
}

/** Counts on the way to `target`, an `http://host:port`. */
export async function startRequestCounter(target: string): Promise<RequestCounter> {
  const { hostname, port } = new URL(target);
  const counts: Record<RequestKind, number> = {
    ...{ PUT: 0, POST: 0, LIST: 0 },
    ...{ GET: 0, HEAD: 0, DELETE: 0 },
  };
  const agent = new Agent({ keepAlive: true });
  const server = createServer((incoming, outgoing) => {
    counts[kindOf(incoming)]++;
    forward(incoming, outgoing, { hostname, port, agent });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    counts: () => ({ ...counts }),
    async stop() {
      agent.destroy();
      server.closeAllConnections();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}

/** What was asked between two looks. */
export function between(before: RequestCounts, after: RequestCounts): RequestCounts {
  const kinds = Object.keys(before) as RequestKind[];
  return Object.fromEntries(
    kinds.map((kind) => [kind, after[kind] - before[kind]]),
  ) as unknown as RequestCounts;
}

/** A bucket is listed by a GET of the bucket, and many objects are deleted by one POST, which is free as a DELETE is. */
export function kindOf(incoming: Pick<IncomingMessage, "method" | "url">): RequestKind {
  const { method = "GET", url = "/" } = incoming;
  const query = new URL(url, "http://bucket").searchParams;
  if (method === "GET" && query.has("list-type")) return "LIST";
  if (method === "POST" && query.has("delete")) return "DELETE";
  return method as RequestKind;
}

function forward(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  to: { readonly hostname: string; readonly port: string; readonly agent: Agent },
): void {
  const { method, url, headers } = incoming;
  const passed = request({ ...to, method, path: url, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(outgoing);
  });
  passed.on("error", () => outgoing.destroy());
  incoming.on("error", () => passed.destroy());
  incoming.pipe(passed);
}
