/**
 * A server as a child process that cannot outlive the process that started it, however that ends: a shell between the two holds our
 * end of its standard input, and kills the server when that closes, which the kernel does for a process that was killed. Used by the
 * backends of tests and of `npm run chaos`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";

/** What is kept of a server's output, for the message of a failure. */
const outputCharsMax = 20_000;

/**
 * Starts the server with its arguments, tells its pid, kills it when standard input ends, ends with its exit code. The watcher must
 * not keep our pipes open, or their end would never be seen.
 */
const guard = `
exec 3<&0
"$@" 3<&- </dev/null &
server=$!
echo "pid $server"
{ cat <&3 >/dev/null; kill -KILL $server; } >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait $server
code=$?
kill $watcher 2>/dev/null
exit $code
`;

export class BoundProcess implements AsyncDisposable {
  readonly #name: string;
  readonly #guard: ChildProcess;
  readonly #closed: Promise<unknown>;
  #pid: number | undefined;
  #output = "";
  #ended = false;

  /** `env` comes on top of this process's environment. */
  constructor(
    program: string,
    args: readonly string[],
    options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ) {
    this.#name = program;
    // In a process group of its own: Ctrl-C is ours to answer, in order.
    this.#guard = spawn("/bin/sh", ["-c", guard, "guard", program, ...args], {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    this.#guard.stdin?.on("error", () => {});
    for (const stream of [this.#guard.stdout, this.#guard.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => this.#read(text));
    }
    this.#closed = once(this.#guard, "close").finally(() => {
      this.#ended = true;
    });
    this.#closed.catch(() => {});
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The server's own, once it has ended; 128 and the signal's number if one ended it. Null before. */
  get exitCode(): number | null {
    return this.#guard.exitCode;
  }

  /** The server's own pid (not the shell's), once it runs. */
  get pid(): number | undefined {
    return this.#pid;
  }

  /** The last of what it wrote to its standard output and error. */
  get output(): string {
    return this.#output;
  }

  /** To the server itself: SIGSTOP, SIGTERM. @throws Error if it has ended */
  signal(name: NodeJS.Signals): void {
    if (this.#pid === undefined || this.#ended) throw new Error(`${this.#name} does not run`);
    process.kill(this.#pid, name);
  }

  /** Polls until `ready` answers true. @throws Error with its output if it ends before, or after `withinMs` */
  async until(what: string, withinMs: number, ready: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      if (this.#ended) throw new Error(`${this.#name} ended before ${what}: ${this.#output}`);
      if (await ready()) return;
      if (performance.now() > deadline) {
        throw new Error(`${this.#name}: ${what} did not come in ${withinMs} ms: ${this.#output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Resolves when it has ended by itself (or by a signal). */
  async end(): Promise<void> {
    await this.#closed.catch(() => {});
  }

  /** Kills it and waits for its end. */
  async kill(): Promise<void> {
    this.#guard.stdin?.destroy();
    await this.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }

  #read(text: string): void {
    this.#output = (this.#output + text).slice(-outputCharsMax);
    if (this.#pid !== undefined) return;
    const told = /^pid (\d+)$/m.exec(this.#output)?.[1];
    if (told !== undefined) this.#pid = Number(told);
  }
}

/** Ports of 127.0.0.1 that were free a moment ago, all different. Another process may take one meanwhile: then start anew. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => {
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port was given");
    return address.port;
  });
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}
