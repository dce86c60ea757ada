/** What the main job can be told on its command line. Reads it with the rules of the product's own. */
import {
  type Arguments,
  type CommandSpec,
  parseArguments,
  UsageError,
} from "../../src/cli/arguments.ts";
import { print } from "./print.ts";

export interface Settings {
  /** Ends after the check instead of serving on. */
  readonly once: boolean;
  /** A file of lines instead of the flights. */
  readonly input: string | undefined;
  readonly recordsMax: number;
  readonly partitions: number;
  /** Kept afterwards; undefined: a folder of its own that is removed. */
  readonly data: string | undefined;
  readonly grpc: string;
  readonly http: string;
}

const spec: CommandSpec = {
  name: "demo",
  summary: "Send a data set through an agent, read it back, and check every record",
  positionals: [],
  options: {
    once: { help: "end after the check, with 0 if it holds and 1 if not" },
    input: { value: "FILE", help: "send the lines of this file instead of the flights" },
    records: { value: "N", help: "send only the first N records" },
    partitions: { value: "N", help: "partitions of the topic", fallback: "6" },
    data: {
      value: "DIR",
      help: "keep the data here; default: a folder that is removed at the end",
    },
    grpc: { value: "HOST:PORT", help: "where the agent listens", fallback: "127.0.0.1:0" },
    http: {
      value: "HOST:PORT",
      help: "where /metrics, /health and /ready are",
      fallback: "127.0.0.1:8080",
    },
  },
};

const help = [
  spec.summary,
  "",
  "Usage: npm start -- [options]",
  "",
  ...Object.entries(spec.options).map(([name, option]) => {
    const left = `--${name}${option.value === undefined ? "" : ` ${option.value}`}`;
    const fallback = option.fallback === undefined ? "" : ` (default ${option.fallback})`;
    return `  ${left.padEnd(18)}  ${option.help}${fallback}`;
  }),
].join("\n");

/** Answers the settings, or the exit code after telling what is wrong or giving help. */
export function readSettings(argv: readonly string[]): Settings | number {
  try {
    const args = parseArguments(spec, argv);
    if (args !== "help") return toSettings(args);
    print(help);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`demo: ${error.message} (npm start -- --help tells more)`);
    return 2;
  }
}

function toSettings(args: Arguments): Settings {
  return {
    once: args.has("once"),
    input: args.value("input"),
    recordsMax: args.whole("records", 1, 1_000_000_000) ?? Number.POSITIVE_INFINITY,
    partitions: args.whole("partitions", 1, 1_000) ?? 1,
    data: args.value("data"),
    grpc: args.address("grpc", 0) ?? "",
    http: args.address("http", 0) ?? "",
  };
}
