/**
 * `npm run chaos -- --minutes N --seed S`: agents, producers and consumers on Node, Bun and Deno over a real S3 server and a real
 * PostgreSQL, under seeded faults; every acknowledged record is compared with everything that was read. `--help` tells more.
 */
import process from "node:process";
import { onStopSignal } from "../src/serve/signals.ts";
import { runChaos } from "./chaos/run.ts";
import { createSchedule } from "./chaos/schedule.ts";
import { type ChaosSettings, kindsText, readSettings } from "./chaos/settings.ts";

const code = await main();
// Everything that a run started has ended by now, and nothing keeps this process; if something ever did, a run must end all the same.
// First the output's turn.
process.stdout.write("", () => process.exit(code));

async function main(): Promise<number> {
  const request = readSettings(process.argv.slice(2));
  switch (request.kind) {
    case "mistake":
      console.error(request.text);
      return 2;
    case "help":
      console.log(request.text);
      return 0;
    case "list":
      console.log(listText(request.settings));
      return 0;
    case "run":
      return run(request.settings);
  }
}

async function run(settings: ChaosSettings): Promise<number> {
  const interrupted = new AbortController();
  const forgetSignals = onStopSignal(() => {
    interrupted.abort(new Error("interrupted"));
  });
  const result = await runChaos(settings, interrupted.signal);
  forgetSignals();
  console.log(JSON.stringify(result));
  return result.ok ? 0 : 1;
}

function listText(settings: ChaosSettings): string {
  const lines = createSchedule(settings).map(({ atMs, kind, lastsMs, target }) => {
    const [at, lasts] = [atMs, lastsMs].map((ms) => (ms / 1_000).toFixed(1).padStart(7));
    return `${at} s  ${kind.padEnd(20)}  target ${target}  ${lasts} s`;
  });
  const title = `Schedule of seed ${settings.seed}, profile ${settings.profile}:`;
  return [kindsText(), "", title, ...lines].join("\n");
}
