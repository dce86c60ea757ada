/**
 * Where and with what was measured: the head of every output, without which figures say nothing.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";
import { crc32cImplementation } from "../src/format/crc32c.ts";
import { root } from "./paths.ts";
import type { BenchSettings } from "./settings.ts";

export interface Machine {
  readonly startedAt: string;
  readonly commit: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly runtime: string;
  /** Versions of what the figures depend on most. */
  readonly packages: Readonly<Record<string, string>>;
  readonly crc32c: string;
  readonly settings: BenchSettings;
}

const PACKAGES = ["@grpc/grpc-js", "nice-grpc", "@bufbuild/protobuf", "@node-rs/crc32"];

export function describeMachine(settings: BenchSettings): Machine {
  return {
    startedAt: new Date().toISOString(),
    commit: commit(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    runtime: runtime(),
    packages: Object.fromEntries(PACKAGES.map((name) => [name, packageVersion(name)])),
    crc32c: crc32cImplementation,
    settings,
  };
}

function runtime(): string {
  const versions = process.versions as Readonly<Record<string, string | undefined>>;
  if (versions.bun !== undefined) return `Bun ${versions.bun}`;
  if (versions.deno !== undefined) return `Deno ${versions.deno}`;
  return `Node ${process.version}`;
}

function packageVersion(name: string): string {
  try {
    const text = readFileSync(`${root}/node_modules/${name}/package.json`, "utf8");
    return String((JSON.parse(text) as { version?: unknown }).version);
  } catch {
    return "not installed";
  }
}

/** The commit, with `+` when files differ from it. */
function commit(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  try {
    const changed = git("status", "--porcelain", "--untracked-files=no").trim() !== "";
    return git("rev-parse", "--short", "HEAD").trim() + (changed ? "+" : "");
  } catch {
    return "unknown";
  }
}
