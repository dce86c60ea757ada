/**
 * The command line as a program: arguments from the process, exit code to it. Called by the door `src/cli.ts`, which is also
 * the `streamhouse` bin, and does nothing when that door is only imported.
 */
import { realpathSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runCli } from "./streamhouse.ts";

/** The `import.meta` of the door. */
export interface ModuleMeta {
  readonly url: string;
  /** Node from 24.2, Bun and Deno know whether a module is the program; older Nodes do not. */
  readonly main?: boolean | undefined;
}

/** Runs the process's own command line and ends the process, if `meta` is the module that the process was started with. */
export async function runIfProgram(meta: ModuleMeta): Promise<void> {
  if (!isProgram(meta)) return;
  const code = await runCli(process.argv.slice(2));
  // What was said on stderr must be out before the end; stdout has been waited for line by line.
  await new Promise<void>((resolve) => {
    process.stderr.write("", () => resolve());
  });
  process.exit(code);
}

function isProgram(meta: ModuleMeta): boolean {
  // An application that bundles this door into a file of its own is the program, not us.
  if (!/\/cli\.[jt]s$/.test(meta.url)) return false;
  if (meta.main !== undefined) return meta.main;
  const started = process.argv[1];
  try {
    // npm's bin is a link to the file.
    return started !== undefined && realpathSync(started) === fileURLToPath(meta.url);
  } catch {
    return false;
  }
}
