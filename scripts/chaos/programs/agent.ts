/**
 * An agent of a chaos run, under any of the three runtimes: what `streamhouse agent` does, with settings that the command line does not
 * have, so that merging, deleting and sweeping happen within a run. SIGTERM lets it finish. Started by `agent-process.ts` with its
 * settings as JSON.
 */
import { once } from "node:events";
import process from "node:process";
import type { AgentOptions } from "../../../src/agent/options.ts";
import { createStderrLogger } from "../../../src/cli/cli-io.ts";
import { serve } from "../../../src/serve/serve.ts";
import { onStopSignal } from "../../../src/serve/signals.ts";

export interface AgentSettings {
  readonly store: string;
  readonly metadata: string;
  readonly grpc: string;
  readonly http: string;
  readonly agent: AgentOptions;
}

process.stderr.on("error", () => {});
const stop = new AbortController();
const forgetSignals = onStopSignal(() => stop.abort());
const served = await serve({
  ...(JSON.parse(process.argv[2] ?? "{}") as AgentSettings),
  readiness: "standby",
  logger: createStderrLogger((line) => process.stderr.write(`${line}\n`)),
});
if (!stop.signal.aborted) await once(stop.signal, "abort");
await served.stop();
forgetSignals();
