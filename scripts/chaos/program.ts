/**
 * A TypeScript file of this repository as a child process under one of the three runtimes, its output in a file. It is bound to this
 * process: however that ends, the child is killed, also while it is stopped.
 */
import { join } from "node:path";
import { BoundProcess } from "../backends/bound-process.ts";
import { type RuntimeName, root, runtimePath } from "../runtimes.ts";
import { until } from "./waiting.ts";

export const runtimes: readonly RuntimeName[] = ["node", "bun", "deno"];

export interface ProgramOptions {
  /** Path from the repository's root. */
  readonly file: string;
  readonly args: readonly string[];
  /** Everything that it writes is appended to this. */
  readonly log: string;
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Loaded before the file; path from the root. */
  readonly preload?: string | undefined;
}

/** Replaces the shell by the program, so that its pid is the program's. */
const logged = 'exec "$@" >>"$0" 2>&1';

/** Resolves when it has a pid. @throws Error if it cannot be started */
export async function startProgram(
  runtime: RuntimeName,
  options: ProgramOptions,
): Promise<BoundProcess> {
  const { args, env, file, log, preload } = options;
  const flags = flagsOf(runtime, preload === undefined ? undefined : join(root, preload));
  const command = [runtimePath(runtime), ...flags, join(root, file), ...args];
  const child = new BoundProcess("/bin/sh", ["-c", logged, log, ...command], {
    cwd: root,
    env: { NO_COLOR: "1", ...env },
  });
  await until(`the pid of ${file}`, () => child.pid !== undefined || child.ended);
  return child;
}

function flagsOf(runtime: RuntimeName, preload: string | undefined): readonly string[] {
  const before = (option: string) => (preload === undefined ? [] : [option, preload]);
  switch (runtime) {
    case "node":
      return before("--import");
    case "bun":
      return before("--preload");
    case "deno":
      return ["run", "-A", "--no-check", ...before("--preload")];
  }
}
