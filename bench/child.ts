/**
 * A program in a process of its own: started with the runtime that runs the bench, ready when it
 * has written one JSON line to stdout, ended with SIGTERM. Its log goes to stderr only if it fails.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { root } from "./paths.ts";

const READY_MS_MAX = 30_000;
const STOP_MS_MAX = 15_000;
const LOG_CHARACTERS_MAX = 20_000;

const isDeno = process.versions.deno !== undefined;

export interface Child {
  /** The JSON line. */
  readonly ready: Readonly<Record<string, unknown>>;
  readonly pid: number;
  /** Sends SIGTERM, and SIGKILL to one that does not end in time. */
  stop(): Promise<void>;
  /** SIGKILL at once. Resolves when it is gone. */
  kill(): Promise<void>;
}

const running = new Set<ChildProcess>();

/** Ends every child at once: for when the bench itself is interrupted. */
export function killChildren(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** @throws Error with the end of its log if the program ends or says nothing in time */
export async function startChild(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Child> {
  const [command, ...prefix] = runtimeCommand();
  const child = spawn(command, [...prefix, program, ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log = (log + text).slice(-LOG_CHARACTERS_MAX);
  });
  try {
    const ready = await readyLine(child);
    const pid = child.pid ?? 0;
    return { ready, pid, stop: () => stop(child, program), kill: () => kill(child) };
  } catch (cause) {
    child.kill("SIGKILL");
    throw new Error(`${program} did not start: ${(cause as Error).message}\n${log}`, { cause });
  }
}

function runtimeCommand(): [string, ...string[]] {
  return isDeno ? [process.execPath, "run", "-A", "--no-check"] : [process.execPath];
}

async function readyLine(child: ChildProcess): Promise<Record<string, unknown>> {
  if (child.stdout === null) throw new Error("no stdout");
  const lines = createInterface({ input: child.stdout });
  const late = AbortSignal.timeout(READY_MS_MAX);
  const line = once(lines, "line", { signal: late }).then(([text]) => String(text));
  const ended = once(child, "exit", { signal: late }).then(([code, signal]) => {
    throw new Error(`it ended with ${code ?? signal}`);
  });
  // Whichever loses the race must not count as unhandled.
  ended.catch(() => {});
  line.catch(() => {});
  const ready: unknown = JSON.parse(await Promise.race([line, ended]));
  if (typeof ready !== "object" || ready === null) throw new Error("its first line is no object");
  return ready as Record<string, unknown>;
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

async function stop(child: ChildProcess, program: string): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
  const [code, signal] = await exit;
  clearTimeout(timer);
  if (signal === "SIGKILL") process.stderr.write(`${program} had to be killed\n`);
  // Deno's `exit` names the signal that was sent, whatever the program did with it.
  else if (code !== 0 && !(isDeno && signal === "SIGTERM"))
    process.stderr.write(`${program} ended with ${code ?? signal}\n`);
}
