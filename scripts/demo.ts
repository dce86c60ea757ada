/**
 * The main job, `npm start`: an agent on a folder, a real data set through a producer over gRPC and back through a consumer, the
 * check that what came out is what went in, and the metrics of all of it until Ctrl-C.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { StreamHouseError } from "../src/core/errors.ts";
import { connect } from "../src/house/connect.ts";
import type { House } from "../src/house/house.ts";
import { type Served, serve } from "../src/serve/serve.ts";
import { onStopSignal } from "../src/serve/signals.ts";
import { bootstrap } from "../src/telemetry/bootstrap.ts";
import { print, printed } from "./demo/print.ts";
import { createProgress, formatCount } from "./demo/progress.ts";
import { printReport } from "./demo/report.ts";
import { roundTrip } from "./demo/round-trip.ts";
import { readSettings, type Settings } from "./demo/settings.ts";
import { flights, linesOf, type Source } from "./demo/source.ts";

const interrupted = new AbortController();
// A reader that goes away, as `| head -1` does, is no reason to leave the data behind: what is under way ends as at Ctrl-C.
const nobodyReads = new Error("nobody reads the output any more");
process.stdout.on("error", () => interrupted.abort(nobodyReads));
const forgetSignals = onStopSignal(() => {
  interrupted.abort(new Error("interrupted before the check"));
});

process.exitCode = await main();
// Deno would wait for the next signal for ever.
forgetSignals();

async function main(): Promise<number> {
  const settings = readSettings(process.argv.slice(2));
  if (typeof settings === "number") return settings;
  const telemetry = bootstrap({ serviceName: "streamhouse-demo" });
  const { input, recordsMax } = settings;
  const data = settings.data ?? (await mkdtemp(join(tmpdir(), "streamhouse-demo-")));
  try {
    // Before the agent, so that nothing has begun if it cannot be read.
    const source = await (input === undefined ? flights(recordsMax) : linesOf(input, recordsMax));
    const { grpc, http } = settings;
    await using served = await serve({ data, grpc, http, telemetry });
    return await run(settings, source, served, data);
  } catch (error) {
    console.error(`demo: ${describe(error)}`);
    return 1;
  } finally {
    await telemetry.shutdown();
    if (settings.data === undefined) await rm(data, { recursive: true, force: true });
  }
}

async function run(
  settings: Settings,
  source: Source,
  served: Served,
  data: string,
): Promise<number> {
  print(`agent on ${served.grpc}, data in ${data}, ${served.http}/metrics`);
  const { partitions } = settings;
  await using house = await connect({ agents: [served.grpc], clientId: "demo" });
  const topic = await freeTopicName(house, source.topic);
  await house.admin.createTopic(topic, { partitions });
  print(
    `sending ${formatCount(source.total)} records, ${source.name}, to topic ${topic} with ${partitions} partitions`,
  );
  const progress = createProgress(source.total);
  const { signal } = interrupted;
  const outcome = await roundTrip(house, topic, source, progress, signal).finally(() =>
    progress.end(),
  );
  const holds = printReport(outcome, source.total);
  if (!settings.once) await serveOn(served);
  await printed();
  if (interrupted.signal.reason === nobodyReads) throw nobodyReads;
  return holds ? 0 : 1;
}

/** A topic of its own for each run, where `--data` names a folder of an earlier one. */
async function freeTopicName(house: House, wanted: string): Promise<string> {
  const taken = new Set((await house.admin.listTopics()).map((topic) => topic.name));
  let name = wanted;
  for (let n = 2; taken.has(name); n++) name = `${wanted}-${n}`;
  return name;
}

function serveOn(served: Served): Promise<void> {
  const { http } = served;
  print(`\nserving ${http}/metrics, ${http}/health and ${http}/ready until Ctrl-C`);
  return new Promise((resolve) => {
    if (interrupted.signal.aborted) resolve();
    interrupted.signal.addEventListener("abort", () => resolve());
  });
}

function describe(error: unknown): string {
  if (!StreamHouseError.is(error)) return error instanceof Error ? error.message : String(error);
  if (error.code !== "ADDRESS_IN_USE") return error.message;
  return `${error.message}; npm start -- --http 127.0.0.1:0 takes any free one`;
}
