/** Builds and packs the package once for all tests of this folder, and runs programs of users in folders of their own. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "../../scripts/runtimes.ts";

const exec = promisify(execFile);

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, at most three minutes. Never rejects: a failure is an exit code. */
export async function command(
  program: string,
  args: readonly string[],
  cwd: string = root,
): Promise<CommandResult> {
  try {
    const options = { cwd, timeout: 180_000, maxBuffer: 64 * 1024 * 1024 };
    const env = { ...process.env, NO_COLOR: "1" };
    const { stdout, stderr } = await exec(program, [...args], { ...options, env });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const failed = error as { code?: number; stdout?: string; stderr?: string; message: string };
    const code = typeof failed.code === "number" ? failed.code : 1;
    return { code, stdout: failed.stdout ?? "", stderr: failed.stderr || failed.message };
  }
}

/** A new folder under the system's temporary one, and how to take it away again. */
export function scratch(name: string): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), `streamhouse-${name}-`));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** An empty project with the packed package installed, as a user would: `npm install FILE`. */
export async function installPacked(folder: string): Promise<void> {
  const packed = await command("npm", ["pack", "--json", "--pack-destination", folder]);
  if (packed.code !== 0) throw new Error(`npm pack failed: ${packed.stderr}`);
  // `prepack` writes to stdout too: the JSON begins at the last line that opens an array.
  const json = packed.stdout.slice(packed.stdout.lastIndexOf("\n[") + 1);
  const filename = (JSON.parse(json) as [{ filename: string }])[0].filename;
  const project = join(folder, "project");
  mkdirSync(project);
  writeFileSync(
    join(project, "package.json"),
    JSON.stringify({ name: "project", private: true, type: "module" }),
  );
  const args = ["install", "--no-audit", "--no-fund", join(folder, filename)];
  const installed = await command("npm", args, project);
  if (installed.code !== 0) throw new Error(`npm install failed: ${installed.stderr}`);
}
