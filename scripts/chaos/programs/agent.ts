/**
 * An agent of a chaos run, under any of the three runtimes: what `streamhouse agent` does, with settings that the command line does not
 * have, so that merging, deleting and sweeping happen within a run. SIGTERM lets it finish. Started by `agent-process.ts` with its
 * settings as JSON.
 */
import process from "node:process";
import type { AgentOptions } from "../../../src/agent/options.ts";
import { createStderrLogger } from "../../../src/cli/cli-io.ts";
import { serve } from "../../../src/serve/serve.ts";

export interface AgentSettings {
  readonly store: string;
  readonly metadata: string;
  readonly grpc: string;
  readonly http: string;
  readonly agent: AgentOptions;
}

process.stderr.on("error", () => {});
await serve({
  ...(JSON.parse(process.argv[2] ?? "{}") as AgentSettings),
  readiness: "standby",
  signals: true,
  logger: createStderrLogger((line) => process.stderr.write(`${line}\n`)),
});
