/**
 * The program: finds the command, runs it, and turns whatever happened into one line and an exit code. Never a stack trace.
 * Called by the door `src/cli.ts`, by tests, and by whoever embeds the command line.
 */
import { asStreamHouseError } from "../core/errors.ts";
import { version } from "../core/version.ts";
import { agentSpec, runAgent } from "./agent.ts";
import {
  type Arguments,
  type CommandSpec,
  parseArguments,
  quote,
  UsageError,
} from "./arguments.ts";
import { type CliIo, createProcessIo } from "./cli-io.ts";
import { clusterSpec, runCluster } from "./cluster.ts";
import { consumeSpec, runConsume } from "./consume.ts";
import {
  groupDeleteSpec,
  groupDescribeSpec,
  groupListSpec,
  runGroupDelete,
  runGroupDescribe,
  runGroupList,
} from "./group.ts";
import { groupResetSpec, runGroupReset } from "./group-reset.ts";
import { commandHelp, programHelp } from "./help.ts";
import {
  keysCreateSpec,
  keysListSpec,
  keysRevokeSpec,
  runKeysCreate,
  runKeysList,
  runKeysRevoke,
} from "./keys.ts";
import { lagSpec, runLag } from "./lag.ts";
import { produceSpec, runProduce } from "./produce.ts";
import {
  runTopicCreate,
  runTopicDelete,
  runTopicDescribe,
  runTopicList,
  topicCreateSpec,
  topicDeleteSpec,
  topicDescribeSpec,
  topicListSpec,
} from "./topic.ts";

interface Command {
  readonly spec: CommandSpec;
  readonly run: (args: Arguments, io: CliIo) => Promise<number>;
}

const commands: readonly Command[] = [
  { spec: agentSpec, run: runAgent },
  { spec: topicCreateSpec, run: runTopicCreate },
  { spec: topicListSpec, run: runTopicList },
  { spec: topicDescribeSpec, run: runTopicDescribe },
  { spec: topicDeleteSpec, run: runTopicDelete },
  { spec: produceSpec, run: runProduce },
  { spec: consumeSpec, run: runConsume },
  { spec: lagSpec, run: runLag },
  { spec: groupListSpec, run: runGroupList },
  { spec: groupDescribeSpec, run: runGroupDescribe },
  { spec: groupResetSpec, run: runGroupReset },
  { spec: groupDeleteSpec, run: runGroupDelete },
  { spec: clusterSpec, run: runCluster },
  { spec: keysCreateSpec, run: runKeysCreate },
  { spec: keysListSpec, run: runKeysList },
  { spec: keysRevokeSpec, run: runKeysRevoke },
];

/** The exit codes, which scripts rely on. */
export const exitCodes = { done: 0, failed: 1, usage: 2 } as const;

/**
 * Runs one command line. `argv` is what follows the program's name. Answers the exit code and never rejects: mistakes and
 * failures are told on standard error.
 */
export async function runCli(
  argv: readonly string[],
  io: CliIo = createProcessIo(),
): Promise<number> {
  try {
    return await dispatch(argv, io);
  } catch (error) {
    if (error instanceof UsageError) {
      const help = ["streamhouse", error.command, "--help"].filter((word) => word !== "").join(" ");
      io.stderr(`streamhouse: ${oneLine(error.message)} (${help} tells more)`);
      return exitCodes.usage;
    }
    io.stderr(`streamhouse: ${oneLine(asStreamHouseError(error, argv[0] ?? "it").message)}`);
    return exitCodes.failed;
  }
}

async function dispatch(argv: readonly string[], io: CliIo): Promise<number> {
  const first = argv[0];
  if (first === "--version" || first === "-V") return print(io, version);
  if (first === "--help" || first === "-h" || first === "help") {
    return print(io, programHelp(commands.map((command) => command.spec)));
  }
  if (first === undefined) throw new UsageError("no command given", "");
  const command = findCommand(argv);
  const words = command.spec.name.split(" ").length;
  const args = parseArguments(command.spec, argv.slice(words));
  if (args === "help") return print(io, commandHelp(command.spec));
  return command.run(args, io);
}

function findCommand(argv: readonly string[]): Command {
  const [first = "", second] = argv;
  const found =
    commands.find(({ spec }) => spec.name === first) ??
    commands.find(({ spec }) => spec.name === `${first} ${second ?? ""}`);
  if (found !== undefined) return found;
  const family = commands.filter(({ spec }) => spec.name.startsWith(`${first} `));
  if (family.length === 0) throw new UsageError(`unknown command ${quote(first)}`, "");
  const verbs = family.map(({ spec }) => spec.name.slice(first.length + 1)).join(", ");
  const given =
    second === undefined || second.startsWith("-") ? "" : `, and ${quote(second)} is none`;
  throw new UsageError(`${first} needs one of ${verbs}${given}`, "");
}

async function print(io: CliIo, text: string): Promise<number> {
  await io.stdout.write([text]);
  return exitCodes.done;
}

/** Messages may hold text of others: one line, without control characters. */
function oneLine(message: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return message.replace(/[\u0000-\u001f\u007f]+/g, " ").trim();
}
