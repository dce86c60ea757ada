/** `streamhouse agent`: an agent on a data folder, or one of many on a bucket and a database, with gRPC and HTTP, until SIGTERM or SIGINT. */
import type { ServerTls } from "../rpc/tls-options.ts";
import { type Arguments, type CommandSpec, quote } from "./arguments.ts";
import { type CliIo, createStderrLogger } from "./cli-io.ts";
import { agentsOption } from "./house-options.ts";
import { secret } from "./text-file.ts";
import { followTlsFiles, readServerTls, serverTlsOptions } from "./tls-files.ts";

export const agentSpec: CommandSpec = {
  name: "agent",
  summary: "Run an agent on a data folder, or on a bucket and a database",
  positionals: [],
  options: {
    data: {
      value: "DIR",
      help: "folder that holds everything, for one agent; made if it is missing",
    },
    store: {
      value: "URL",
      help: "bucket that many agents share: s3://BUCKET/PREFIX?endpoint=…&region=…",
    },
    metadata: {
      value: "URL",
      help: "database that they share: postgres://USER:PASSWORD@HOST:PORT/DATABASE",
    },
    "metadata-file": {
      value: "FILE",
      help: "file with the database's URL: keeps its password out of the list of processes",
    },
    "agent-id": {
      value: "NAME",
      help: "names this agent; keep it over restarts, so that its partitions come back to it",
    },
    grpc: {
      value: "HOST:PORT",
      help: "where clients connect; port 0 takes a free one",
      fallback: "127.0.0.1:7070",
    },
    http: {
      value: "HOST:PORT",
      help: "where /metrics, /health and /ready are; port 0 takes a free one",
      fallback: "127.0.0.1:8080",
    },
    advertise: {
      value: "HOST:PORT",
      help: "the address that clients are told, where it is not the one listened on; port 0 is that one's",
    },
    readiness: {
      value: "RULE",
      help: "what makes /ready say yes: leases, or standby: also an agent with nothing to own yet",
      fallback: "leases",
    },
    "flush-interval": {
      value: "MS",
      help: "least time from one write to the bucket to the next, 0 to 60000 (default 200, on a folder 0)",
    },
    ...serverTlsOptions,
    "require-keys": {
      help: "take no call without an API key; see streamhouse keys for making the first one",
    },
    "open-health": { help: "with --require-keys: answer gRPC health checks without one" },
    // Every command takes it, so that a script can pass the same options to all of them.
    agents: { ...agentsOption.agents, help: "taken as by every command; an agent asks no other" },
  },
  notes: [
    "Give --data, or --store with --metadata, --metadata-file or the environment's STREAMHOUSE_METADATA.",
    "The certificate files are read again when they change.",
    "One line of JSON on standard output says that it serves, and where:",
    '  {"event":"ready","grpc":"127.0.0.1:7070","http":"http://127.0.0.1:8080","agentId":"…"}',
    "Logs go to standard error. SIGTERM and SIGINT let it finish what it accepted, then it exits with 0.",
    "The standard OTEL_* variables are honoured; traces go to OTEL_EXPORTER_OTLP_ENDPOINT when it is set.",
  ],
};

/** Answers the exit code. */
export async function runAgent(args: Arguments, io: CliIo): Promise<number> {
  const stores = await storesOf(args, io);
  const tls = await readServerTls(args);
  const agentId = args.value("agent-id");
  if (agentId !== undefined && !/^[\w.:-]{1,200}$/.test(agentId)) {
    throw args.mistake(
      `--agent-id is ${quote(agentId)}: use letters, digits, dots, dashes and colons`,
    );
  }
  const requireKeys = args.has("require-keys");
  const openHealth = args.has("open-health");
  if (openHealth && !requireKeys) throw args.mistake("--open-health goes with --require-keys");
  // Loaded only here: the other commands start without a database and an SDK (and Node 22's warning about SQLite).
  const { serve } = await import("../serve/serve.ts");
  const logger = createStderrLogger(io.stderr);
  const served = await serve({
    ...stores,
    agent: { agentId, flushIntervalMs: args.whole("flush-interval", 0, 60_000) },
    grpc: args.address("grpc", 0) ?? "",
    http: args.address("http", 0) ?? "",
    advertise: args.address("advertise", 0),
    readiness: args.oneOf<"leases" | "standby">("readiness", ["leases", "standby"]),
    logger,
    tls,
    access: requireKeys ? { by: "keys", openHealth } : undefined,
  });
  const renew = (it: ServerTls) => served.renewTls(it);
  const forgetFiles = tls === undefined ? () => {} : followTlsFiles(args, tls, { renew, logger });
  try {
    const { grpc, http } = served;
    const ready = { event: "ready", grpc, http, agentId: served.agent.agentId };
    await io.stdout.write([JSON.stringify(ready)]);
    await aborted(io.stop);
  } finally {
    forgetFiles();
    await served.stop();
  }
  return 0;
}

/**
 * The database's URL: from the option, a file or the environment. The environment's is meant for agents that share one: beside `--data`
 * it is not looked at.
 */
export async function metadataUrl(args: Arguments, io: CliIo): Promise<string | undefined> {
  const given = args.value("metadata");
  if (given !== undefined && args.value("metadata-file") !== undefined) {
    throw args.mistake("--metadata and --metadata-file are both given: the file is enough");
  }
  const isShared = args.value("data") === undefined;
  return (
    given ?? secret(args, "metadata-file", isShared ? io.env?.STREAMHOUSE_METADATA : undefined)
  );
}

/** Where the data is: one of two ways, whole. Values are not repeated: URLs may hold passwords. */
async function storesOf(
  args: Arguments,
  io: CliIo,
): Promise<{ data: string } | { store: string; metadata: string }> {
  const data = args.value("data");
  const store = args.value("store");
  const metadata = await metadataUrl(args, io);
  if (store === undefined && metadata === undefined) {
    if (data === undefined) {
      throw args.mistake("--data DIR is missing (for many agents: --store URL and --metadata URL)");
    }
    if (data === "") throw args.mistake(`--data is ${quote(data)}: name a folder`);
    return { data };
  }
  if (data !== undefined) {
    throw args.mistake(
      "--data goes with neither --store nor --metadata: a folder is for one agent",
    );
  }
  if (store === undefined) throw args.mistake("--metadata needs --store URL beside it");
  if (metadata === undefined) {
    throw args.mistake(
      "--store needs --metadata URL beside it (or --metadata-file, or STREAMHOUSE_METADATA)",
    );
  }
  return { store, metadata };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
