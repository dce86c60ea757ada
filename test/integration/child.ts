/**
 * Programs of this repository as child processes, under whichever runtime runs the test. Children are ended by their own pid, and none
 * outlives its test. Waiting is for a condition with a deadline, never for a time.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";

export const root: string = fileURLToPath(new URL("../../", import.meta.url));

/** How long anything may take before the test gives up. Generous: the machine may be busy. */
const deadlineMs = 60_000;

/** Resolves with the first answer that is not undefined or false. @throws Error naming `what` after the deadline */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`waited ${deadlineMs} ms in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The command that runs a TypeScript file under this runtime. */
export function runtimeCommand(file: string): readonly [string, ...string[]] {
  const isDeno = "Deno" in globalThis;
  return isDeno ? [process.execPath, "run", "-A", file] : [process.execPath, file];
}

export interface Finished {
  /** Null if a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that runs. */
export class Child {
  readonly process: ChildProcessWithoutNullStreams;
  readonly #finished: Promise<Finished>;
  #stdout = "";
  #stderr = "";
  #ended = false;

  constructor(
    file: string,
    args: readonly string[],
    options: {
      readonly cwd?: string;
      readonly env?: Readonly<Record<string, string>>;
      /** Standard output is left to the test: nothing reads it. */
      readonly holdStdout?: boolean;
      /** Another runtime's program, and what stands before the file. */
      readonly command?: readonly [string, ...string[]];
    } = {},
  ) {
    const own = runtimeCommand(file);
    const [command, ...before] = options.command === undefined ? own : [...options.command, file];
    this.process = spawn(command ?? "", [...before, ...args], {
      cwd: options.cwd ?? root,
      env: { ...process.env, NO_COLOR: "1", ...options.env },
    });
    if (options.holdStdout !== true) {
      this.process.stdout.on("data", (chunk: Uint8Array) => {
        this.#stdout += new TextDecoder().decode(chunk);
      });
    }
    this.process.stderr.on("data", (chunk: Uint8Array) => {
      this.#stderr += new TextDecoder().decode(chunk);
    });
    // A child that is gone already closes its stdin under our hands.
    this.process.stdin.on("error", () => {});
    this.#finished = once(this.process, "close").then(([code, signal]) => {
      this.#ended = true;
      return { code, signal, stdout: this.#stdout, stderr: this.#stderr };
    });
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Resolves when it has ended by itself and everything it wrote was read. */
  async finished(): Promise<Finished> {
    await eventually("the child to end", () => this.#ended);
    return this.#finished;
  }

  /** Sends the signal and waits for the end. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<Finished> {
    const { pid } = this.process;
    // Not child.kill(): Deno then reports the signal as the end although the program exited by itself.
    if (!this.#ended && pid !== undefined) process.kill(pid, signal);
    return this.finished();
  }

  /** Resolves with what `find` finds on standard output. */
  async says<T>(what: string, find: (stdout: string) => T | undefined | false): Promise<T> {
    return eventually(`${what}; stderr so far: ${this.#stderr.slice(-500)}`, () => {
      const found = find(this.#stdout);
      if (found === undefined || found === false) {
        if (this.#ended) throw new Error(`it ended before: ${what}\n${this.#stderr}`);
      }
      return found;
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end("SIGKILL").then(() => {});
  }
}

/** Starts the command line. */
export function startCli(
  args: readonly string[],
  options?: ConstructorParameters<typeof Child>[2],
): Child {
  return new Child(`${root}src/cli.ts`, args, options);
}

/** Runs the command line to its end, with `input` on standard input. */
export async function cli(
  args: readonly string[],
  input: string | Uint8Array = "",
): Promise<Finished> {
  const child = startCli(args);
  child.process.stdin.end(input);
  return child.finished();
}

export interface AgentProcess {
  readonly child: Child;
  readonly grpc: string;
  readonly http: string;
  readonly agentId: string;
}

/** An agent in a process of its own; resolves when it serves. */
export async function startAgent(
  data: string,
  grpc = "127.0.0.1:0",
  more: readonly string[] = [],
): Promise<AgentProcess> {
  const args = ["agent", "--data", data, "--grpc", grpc, "--http", "127.0.0.1:0", ...more];
  const child = startCli(args);
  child.process.stdin.end();
  const line = await child.says("the agent to serve", (out) => /^\{.*\}$/m.exec(out)?.[0]);
  const ready = JSON.parse(line) as { grpc: string; http: string; agentId: string };
  return { child, grpc: ready.grpc, http: ready.http, agentId: ready.agentId };
}
