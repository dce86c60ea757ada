/**
 * Finds the runtimes that the project is developed with, and installs those that are missing. Node and Bun are dev dependencies; Deno
 * and the oldest Node that we support are installed from npm into the ignored folder `.tools` on first use, because `deno` in
 * package.json breaks `npm ci` (the packages of its other platforms are not all served).
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root: string = fileURLToPath(new URL("..", import.meta.url));

/** Exact versions. Deno 2.9.4 to 2.9.6 abort as a gRPC server (denoland/deno#36788). */
export const versions = { deno: "2.9.3", nodeOldest: "22.15.0" } as const;

export type RuntimeName = "node" | "bun" | "deno";

/** Absolute path of a runtime's program, installed first if need be. */
export function runtimePath(name: RuntimeName | "node-oldest"): string {
  switch (name) {
    case "node":
      return join(root, "node_modules", "node", "bin", "node");
    case "bun":
      return join(root, "node_modules", "bun", "bin", "bun.exe");
    case "deno":
      return fromNpm("deno", versions.deno, ["deno"]);
    case "node-oldest":
      return fromNpm("node", versions.nodeOldest, ["bin", "node"]);
  }
}

function fromNpm(name: string, version: string, program: readonly string[]): string {
  const folder = join(root, ".tools", `${name}-${version}`);
  const path = join(folder, "node_modules", name, ...program);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true }));
  console.error(`installing ${name} ${version} into .tools …`);
  const args = ["install", "--no-save", "--no-audit", "--no-fund", "--prefix", folder];
  const npm = spawnSync("npm", [...args, `${name}@${version}`], { cwd: folder, encoding: "utf8" });
  // Some versions of npm do not run install scripts unless allowed: Deno's only links the program then.
  if (!existsSync(path) && name === "deno") {
    spawnSync(process.execPath, [join(folder, "node_modules", "deno", "install.cjs")], {
      cwd: folder,
    });
  }
  if (existsSync(path)) return path;
  throw new Error(
    `cannot install ${name} ${version} with npm (exit ${npm.status}): ${npm.stderr ?? npm.error}`,
  );
}
