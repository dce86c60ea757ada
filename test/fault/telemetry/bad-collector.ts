/** A collector of OTLP over HTTP that misbehaves as it is told, and counts what it is sent. In the test's own process. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/**
 * `well` takes everything · `down` nobody listens · `slow` never answers · `failing` answers 500 · `cut` breaks off in the middle of such
 * an answer · `cut after 200` in the middle of a good one: it has everything · `deaf` breaks off while it is still being sent to.
 */
export type CollectorMood = "well" | "down" | "slow" | "failing" | "cut" | "cut after 200" | "deaf";

export interface BadCollector {
  readonly url: string;
  /** Requests that came in whole, by path. */
  readonly requests: ReadonlyMap<string, number>;
  /** Bodies of the requests for traces. */
  readonly traces: readonly Buffer[];
  close(): Promise<void>;
}

export async function startBadCollector(mood: CollectorMood): Promise<BadCollector> {
  const requests = new Map<string, number>();
  const traces: Buffer[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    if (mood === "deaf") {
      request.once("data", () => request.socket.destroy());
      return;
    }
    void bodyOf(request).then((body) => {
      const path = request.url ?? "";
      requests.set(path, (requests.get(path) ?? 0) + 1);
      if (path.endsWith("traces")) traces.push(body);
      answer(mood, request, response);
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    return closed;
  };
  const url = `http://127.0.0.1:${port}`;
  // The port was free a moment ago, and nobody listens at it now.
  if (mood === "down") await close();
  return { url, requests, traces, close: mood === "down" ? async () => {} : close };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function answer(mood: CollectorMood, request: IncomingMessage, response: ServerResponse): void {
  const isJson = request.headers["content-type"]?.includes("json") ?? false;
  const headers = { "content-type": request.headers["content-type"] ?? "" };
  switch (mood) {
    case "well":
      response.writeHead(200, headers).end(isJson ? "{}" : "");
      break;
    case "failing":
      response.writeHead(500, { "content-type": "text/plain" }).end("no");
      break;
    case "cut":
    case "cut after 200":
      response.writeHead(mood === "cut" ? 500 : 200, { ...headers, "content-length": "1000" });
      response.write("{", () => request.socket.destroy());
      break;
    default:
      // Says nothing.
      break;
  }
}
