#!/usr/bin/env node
/** `@streamhouse/streamhouse/cli`: the command line, as a function and as the `streamhouse` program. */
import { runIfProgram } from "./cli/program.ts";

export type { CliIo } from "./cli/cli-io.ts";
export type { LineOutput } from "./cli/line-output.ts";
export { exitCodes, runCli } from "./cli/streamhouse.ts";

await runIfProgram(import.meta);
