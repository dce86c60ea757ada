/** `streamhouse agent`: an agent on a data folder, with gRPC and HTTP, until SIGTERM or SIGINT. */
import { type Arguments, type CommandSpec, quote } from "./arguments.ts";
import { type CliIo, createStderrLogger } from "./cli-io.ts";
import { agentsOption } from "./house-options.ts";

export const agentSpec: CommandSpec = {
  name: "agent",
  summary: "Run an agent on a data folder",
  positionals: [],
  options: {
    data: {
      value: "DIR",
      help: "folder that holds everything; made if it is missing",
      required: true,
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
      help: "the address that clients are told, where it is not the one listened on",
    },
    readiness: {
      value: "RULE",
      help: "what makes /ready say yes: leases, or standby: also an agent with nothing to own yet",
      fallback: "leases",
    },
    // Every command takes it, so that a script can pass the same options to all of them.
    agents: { ...agentsOption.agents, help: "taken as by every command; an agent asks no other" },
  },
  notes: [
    "One line of JSON on standard output says that it serves, and where:",
    '  {"event":"ready","grpc":"127.0.0.1:7070","http":"http://127.0.0.1:8080","agentId":"…"}',
    "Logs go to standard error. SIGTERM and SIGINT let it finish what it accepted, then it exits with 0.",
    "The standard OTEL_* variables are honoured; traces go to OTEL_EXPORTER_OTLP_ENDPOINT when it is set.",
  ],
};

/** Answers the exit code. */
export async function runAgent(args: Arguments, io: CliIo): Promise<number> {
  const data = args.value("data") ?? "";
  if (data === "") throw args.mistake(`--data is ${quote(data)}: name a folder`);
  // Loaded only here: the other commands start without a database and an SDK (and Node 22's warning about SQLite).
  const { serve } = await import("../serve/serve.ts");
  const served = await serve({
    data,
    grpc: args.address("grpc", 0) ?? "",
    http: args.address("http", 0) ?? "",
    advertise: args.address("advertise", 1),
    readiness: args.oneOf<"leases" | "standby">("readiness", ["leases", "standby"]),
    logger: createStderrLogger(io.stderr),
  });
  try {
    const { grpc, http } = served;
    const ready = { event: "ready", grpc, http, agentId: served.agent.agentId };
    await io.stdout.write([JSON.stringify(ready)]);
    await aborted(io.stop);
  } finally {
    await served.stop();
  }
  return 0;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
