/**
 * An agent over bucket and database, as the command line starts it, which also answers how much memory and processor time it has
 * taken: `GET /` at the `control` address of its first line. A collection comes before each answer, so what is told is held, not waste.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "../../src/serve/serve.ts";
import { collector } from "../garbage.ts";

/** What the parent tells it, as JSON in its first argument. */
export interface AgentProcessOptions {
  readonly store: string;
  readonly metadata: string;
  readonly agentId: string;
  /** Settings beyond the defaults. */
  readonly agent?: Readonly<Record<string, number>>;
}

/** What it answers. */
export interface AgentUse {
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly buffersBytes: number;
  /** Since its start, user and system. */
  readonly cpuMs: number;
}

const options = JSON.parse(process.argv[2] ?? "{}") as AgentProcessOptions;
const collect = collector();

function use(): AgentUse {
  collect();
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  return {
    rssBytes: rss,
    heapBytes: heapUsed,
    buffersBytes: arrayBuffers,
    cpuMs: (user + system) / 1_000,
  };
}

const served = await serve({
  store: options.store,
  metadata: options.metadata,
  agent: { agentId: options.agentId, ...options.agent },
  grpc: "127.0.0.1:0",
  http: "127.0.0.1:0",
  readiness: "standby",
  logger: {
    debug: () => {},
    info: () => {},
    warn: (message, fields) => console.error(message, fields),
    error: (message, fields) => console.error(message, fields),
  },
});

const control = createServer((_request, response) => {
  response.end(JSON.stringify(use()));
});
await new Promise<void>((resolve) => control.listen(0, "127.0.0.1", resolve));
const { port } = control.address() as AddressInfo;
const { grpc, http } = served;
console.log(JSON.stringify({ grpc, http, control: `http://127.0.0.1:${port}` }));

process.once("SIGTERM", () => {
  control.close();
  control.closeAllConnections();
  served.stop().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
