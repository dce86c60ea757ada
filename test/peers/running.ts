/**
 * Programs as child processes, for the tests of this folder: third-party servers, and programs of applications under any of the three
 * runtimes. Each is ended by its own pid before its test ends.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { type RuntimeName, root, runtimePath } from "../../scripts/runtimes.ts";
import { eventually } from "../integration/child.ts";

/** What is kept of a program's output, for its reader and for the message of a failure. */
const outputCharsMax = 4_000_000;

export class Running {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #closed: Promise<number | null>;
  #ended = false;
  #stdout = "";
  #stderr = "";

  constructor(
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ) {
    this.#process = spawn(program, [...args], {
      cwd: root,
      stdio: "pipe",
      env: { ...process.env, NO_COLOR: "1", ...env },
    });
    this.#process.stdout.on("data", (chunk: Uint8Array) => {
      this.#stdout = (this.#stdout + new TextDecoder().decode(chunk)).slice(-outputCharsMax);
    });
    this.#process.stderr.on("data", (chunk: Uint8Array) => {
      this.#stderr = (this.#stderr + new TextDecoder().decode(chunk)).slice(-outputCharsMax);
    });
    this.#process.stdin.on("error", () => {});
    this.#closed = once(this.#process, "close").then(([code]) => {
      this.#ended = true;
      return code;
    });
  }

  get stdout(): string {
    return this.#stdout;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Resolves when the address answers 200. @throws Error with the program's output if it ends before */
  async answers(url: string, init: RequestInit = {}): Promise<void> {
    try {
      await eventually(`an answer from ${url}`, async () => {
        if (this.#ended) throw new Error("the program ended");
        const answer = await fetch(url, init).catch(() => undefined);
        await answer?.body?.cancel();
        return answer?.ok;
      });
    } catch (error) {
      await this.end();
      throw this.#failure(String(error));
    }
  }

  /** The first line of its output that is a JSON object, once there is one. */
  async says<T>(): Promise<T> {
    const line = await eventually(`a line of JSON; stderr: ${this.#stderr}`, () => {
      const found = /^\{.*\}$/m.exec(this.#stdout)?.[0];
      if (found === undefined && this.#ended) throw this.#failure("it ended before its answer");
      return found;
    });
    return JSON.parse(line) as T;
  }

  /** Its answer, when it has ended by itself. @throws Error with its output if it failed */
  async result<T>(): Promise<T> {
    await eventually(`the program's end; stderr: ${this.#stderr}`, () => this.#ended);
    const code = await this.#closed;
    if (code !== 0) throw this.#failure(`exit code ${code}`);
    return this.says<T>();
  }

  /** Asks it to end, and after 10 s makes it. */
  async end(): Promise<void> {
    if (!this.#ended) this.#process.kill("SIGTERM");
    const hard = setTimeout(() => this.#process.kill("SIGKILL"), 10_000);
    await this.#closed;
    clearTimeout(hard);
  }

  #failure(what: string): Error {
    return new Error(`${what}\nstdout: ${this.#stdout}\nstderr: ${this.#stderr}`);
  }
}

/** Starts a TypeScript file of this repository under one of the runtimes. */
export function runFile(
  runtime: RuntimeName,
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Running {
  const before = runtime === "deno" ? ["run", "-A", "--no-check"] : [];
  return new Running(runtimePath(runtime), [...before, join(root, file), ...args], env);
}

/** A port may be taken between our look and the program's: then the start is tried anew. */
const startsMax = 5;

/** For servers that do not tell which port they took for port 0: starts one on a port that was free a moment ago. */
export async function startOnFreePorts<T>(
  begin: (first: number, second: number) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    const [first, second] = await freePorts();
    try {
      return await begin(first, second);
    } catch (error) {
      if (tries === startsMax || !/address already in use/.test(String(error))) throw error;
    }
  }
}

/** Two at once, so that they differ. */
async function freePorts(): Promise<readonly [number, number]> {
  const one = createServer().listen(0, "127.0.0.1");
  const two = createServer().listen(0, "127.0.0.1");
  const listening = [once(one, "listening"), once(two, "listening")];
  await Promise.all(listening);
  const [first = 0, second = 0] = [one, two].map((server) => {
    const address = server.address();
    return typeof address === "object" ? address?.port : undefined;
  });
  await Promise.all([once(one.close(), "close"), once(two.close(), "close")]);
  return [first, second];
}
