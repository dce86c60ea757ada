/**
 * `npm run bench`: measures StreamHouse and the raw limits under it in interleaved rounds, and
 * prints medians with their spread. How to read it: README.md in this folder.
 */
import { parseArguments, usage } from "./arguments.ts";
import { chosen } from "./catalogue.ts";
import { killChildren } from "./child.ts";
import { interleave } from "./contender.ts";
import { figuresOf, lostFirst } from "./figure.ts";
import { describeMachine } from "./machine.ts";
import { Scratch } from "./paths.ts";
import { runnable } from "./peers/catalogue.ts";
import { jsonLines, table } from "./report.ts";
import { besidePeers, fullSettings, quickSettings } from "./settings.ts";

async function main(): Promise<number> {
  const args = parseArguments(process.argv.slice(2));
  if (args.help) {
    process.stdout.write(usage);
    return 0;
  }
  const alone = args.quick ? quickSettings : fullSettings;
  const settings = args.peers ? besidePeers(alone) : alone;
  const peers = args.peers ? runnable((text) => process.stderr.write(text)) : [];
  const machine = describeMachine(settings);
  const scratch = new Scratch(args.data);
  cleanUpOnInterrupt(scratch);
  try {
    const phases = chosen(settings, scratch, args.only, peers);
    const figures = [];
    for (const { contenders, ...rounds } of phases) {
      const samples = await interleave(contenders, {
        ...rounds,
        onRound: (round, of, name) => progress(`round ${round} of ${of}: ${name}`),
      });
      figures.push(...figuresOf(contenders, samples));
    }
    progress("");
    const told = lostFirst(figures);
    process.stdout.write(args.json ? jsonLines(machine, told) : table(machine, told));
    return 0;
  } finally {
    scratch.remove();
  }
}

/** Ctrl-C leaves neither processes nor data behind. */
function cleanUpOnInterrupt(scratch: Scratch): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      killChildren();
      scratch.remove();
      process.exit(130);
    });
  }
}

/** One line on a terminal that is written over; nothing elsewhere. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

try {
  process.exitCode = await main();
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`bench: ${message}\n`);
  process.exitCode = error instanceof TypeError ? 2 : 1;
}
