/** What a chaos run can be told on its command line. Reads it with the rules of the product's own. */
import {
  type Arguments,
  type CommandSpec,
  parseArguments,
  UsageError,
} from "../../src/cli/arguments.ts";
import { faultKinds, faultNames } from "./fault-kinds.ts";
import type { ScheduleSettings } from "./schedule.ts";

export interface ChaosSettings extends ScheduleSettings {
  readonly partitions: number;
  /** Records a second of each producer, on average. */
  readonly rate: number;
}

const spec: CommandSpec = {
  name: "chaos",
  summary:
    "Run agents over a real S3 server and a real PostgreSQL under seeded faults, and check every record",
  positionals: [],
  options: {
    minutes: { value: "N", help: "how long faults are injected, profile long (default 5)" },
    seed: { value: "S", help: "chooses the faults; the same again repeats them", fallback: "1" },
    agents: { value: "N", help: "agents: on Node, Bun and Deno in turn", fallback: "3" },
    profile: {
      value: "NAME",
      help: "short: each fault once, in about a minute; long: for --minutes",
      fallback: "long",
    },
    list: { help: "show the faults and this seed's schedule, and end" },
  },
  notes: [
    "Progress goes to standard error. The last line on standard output is one JSON object:",
    '  {"ok":true,"seed":1,"acknowledged":n,"consumed":n,"lost":0,"duplicated":0,"reordered":0,…}',
    "Exit code 0: everything held. 1: something did not, or the run failed; a folder keeps the evidence. 2: wrong arguments.",
    "The seed decides which fault hits which target when. It does not decide what the programs have just been doing then.",
    "Needs PostgreSQL's and Ceph's Debian packages: installed by apt-get, where it runs as root and they are missing.",
  ],
};

/** Beyond it the account of all records no longer fits into memory. */
const minutesMax = 240;

export type Request =
  | { readonly kind: "run" | "list"; readonly settings: ChaosSettings }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "mistake"; readonly text: string };

export function readSettings(argv: readonly string[]): Request {
  try {
    const args = parseArguments(spec, argv);
    if (args === "help") return { kind: "help", text: help() };
    return { kind: args.has("list") ? "list" : "run", settings: toSettings(args) };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const text = `chaos: ${error.message} (npm run chaos -- --help tells more)`;
    return { kind: "mistake", text };
  }
}

function toSettings(args: Arguments): ChaosSettings {
  const profile = args.oneOf<"short" | "long">("profile", ["short", "long"]);
  const minutes = args.whole("minutes", 1, minutesMax);
  if (minutes !== undefined && profile === "short") {
    throw args.mistake("--minutes goes with --profile long: short injects each fault once");
  }
  // With one agent alone nobody could take a lease over.
  const agents = args.whole("agents", 2, 9) ?? 3;
  return {
    profile,
    seed: args.whole("seed", 0, 2_147_483_647) ?? 0,
    durationMs: (minutes ?? 5) * 60_000,
    agents,
    producers: 3,
    consumers: profile === "short" ? 1 : 2,
    members: 5,
    // Enough that hardly an agent is without one.
    partitions: 8 * agents,
    rate: profile === "short" ? 100 : 200,
  };
}

function help(): string {
  const options = Object.entries(spec.options).map(([name, option]) => {
    const left = `--${name}${option.value === undefined ? "" : ` ${option.value}`}`;
    const fallback = option.fallback === undefined ? "" : ` (default ${option.fallback})`;
    return `  ${left.padEnd(16)}  ${option.help}${fallback}`;
  });
  const usage = "Usage: npm run chaos -- [options]";
  return [spec.summary, "", usage, "", ...options, "", ...(spec.notes ?? [])].join("\n");
}

/** For `--list`. */
export function kindsText(): string {
  const width = Math.max(...faultNames.map((it) => it.length));
  return faultNames.map((it) => `${it.padEnd(width)}  ${faultKinds[it].does}`).join("\n");
}
