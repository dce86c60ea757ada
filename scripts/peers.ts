/**
 * Builds the real backends of test/peers, an OpenTelemetry Collector and a Jaeger, from their Go modules (test/peers/go) with the
 * ordinary Go client, and keeps the programs in the user's cache folder, outside the repository. `node scripts/peers.ts` builds
 * what is missing (`.ci/run` does so before the suite); the tests call `peerProgram` and wait for a build that runs.
 * A machine without Go is told so; one with Go on which the build fails is an error, never a silent skip.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "./runtimes.ts";

export type PeerName = "collector" | "jaeger" | "nats";

/** Those that the suite needs; the benchmark builds its own when it is asked for them. */
export const peerNames: readonly PeerName[] = ["collector", "jaeger"];

/** A cold build of one of them takes about a minute of two cores; the machine may be busy with the suite meanwhile. */
const buildMsMax = 20 * 60_000;

/**
 * Why the real backends cannot run here; undefined if they can. `STREAMHOUSE_PEERS=mock` says so on a machine that could,
 * to try what happens on one that cannot.
 */
export function whyNoPeers(): string | undefined {
  if (process.env.STREAMHOUSE_PEERS === "mock") return "STREAMHOUSE_PEERS=mock";
  return findGo() === undefined ? "this machine has no Go" : undefined;
}

/** The version that is built, from its go.mod. */
export function peerVersion(name: PeerName): string {
  const module = {
    collector: "go.opentelemetry.io/collector/otelcol",
    jaeger: "github.com/jaegertracing/jaeger",
    nats: "github.com/nats-io/nats-server/v2",
  }[name];
  const text = readFileSync(join(source(name), "go.mod"), "utf8");
  return new RegExp(`${module} v(\\S+)`).exec(text)?.[1] ?? "of an unknown version";
}

/** Absolute path of the program, built first if need be. @throws Error if there is no Go or the build fails */
export async function peerProgram(name: PeerName): Promise<string> {
  const folder = join(cacheFolder(), `${name}-${fingerprint(name)}`);
  const path = join(folder, name);
  if (existsSync(path)) return path;
  const go = findGo();
  if (go === undefined) throw new Error(`cannot build ${name}: this machine has no Go`);
  mkdirSync(folder, { recursive: true });
  const release = await lock(join(folder, "building"), () => existsSync(path));
  try {
    if (!existsSync(path)) await build(go, name, path);
  } finally {
    release();
  }
  return path;
}

function source(name: PeerName): string {
  return name === "nats"
    ? join(root, "bench", "go", name)
    : join(root, "test", "peers", "go", name);
}

function cacheFolder(): string {
  const base = process.env.XDG_CACHE_HOME;
  return join(
    base === undefined || base === "" ? join(homedir(), ".cache") : base,
    "streamhouse-peers",
  );
}

/** What is built: another source or version is another program. */
function fingerprint(name: PeerName): string {
  const hash = createHash("sha256");
  for (const file of readdirSync(source(name)).sort()) {
    hash.update(file).update(readFileSync(join(source(name), file)));
  }
  return hash.digest("hex").slice(0, 16);
}

function findGo(): string | undefined {
  const candidates = ["go", "/usr/local/go/bin/go"];
  return candidates.find((go) => spawnSync(go, ["version"]).status === 0);
}

async function build(go: string, name: PeerName, path: string): Promise<void> {
  const startedAt = performance.now();
  console.error(`building ${name} ${peerVersion(name)} …`);
  const unfinished = `${path}.${process.pid}`;
  // No symbols: half the time to link. No cgo: no C compiler is needed. The pinned sums decide what is compiled.
  const args = ["build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", unfinished, "."];
  const env = { ...process.env, CGO_ENABLED: "0", GOWORK: "off", GOTOOLCHAIN: "local" };
  const { code, output } = await run(go, args, source(name), env);
  if (code !== 0) {
    rmSync(unfinished, { force: true });
    throw new Error(`cannot build ${name} (go build: exit ${code}): ${output.slice(-2_000)}`);
  }
  renameSync(unfinished, path);
  const seconds = Math.round((performance.now() - startedAt) / 1_000);
  console.error(`built ${name} ${peerVersion(name)} in ${seconds} s: ${path}`);
}

function run(
  program: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const collect = (chunk: Uint8Array) => {
      output = (output + new TextDecoder().decode(chunk)).slice(-100_000);
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    const timer = setTimeout(() => child.kill("SIGKILL"), buildMsMax);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}

/** One build of a program at a time. Waits for another process's build; one that died does not hold it. */
async function lock(path: string, done: () => boolean): Promise<() => void> {
  const deadline = performance.now() + buildMsMax;
  while (!done()) {
    try {
      writeFileSync(path, String(process.pid), { flag: "wx" });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      if (!isAlive(holder(path))) rmSync(path, { force: true });
    }
    if (performance.now() > deadline) throw new Error(`${path} is held for too long`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return () => {};
}

/** NaN if it is being written or gone. */
function holder(path: string): number {
  try {
    return Number.parseInt(readFileSync(path, "utf8"), 10);
  } catch {
    return Number.NaN;
  }
}

function isAlive(pid: number): boolean {
  if (Number.isNaN(pid)) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const why = whyNoPeers();
  if (why !== undefined) console.log(`no real Collector and no real Jaeger: ${why}`);
  else for (const name of peerNames) console.log(`${name}: ${await peerProgram(name)}`);
}
