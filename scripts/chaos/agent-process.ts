/**
 * One agent of a chaos run: a process that serves as the product's command line does, on its own ports, with its own ways to the
 * database and to S3. It is started again until it serves; an end that nobody asked for is told.
 */
import { appendFileSync } from "node:fs";
import type { AgentOptions } from "../../src/agent/options.ts";
import type { BoundProcess } from "../backends/bound-process.ts";
import type { RuntimeName } from "../runtimes.ts";
import { startProgram } from "./program.ts";
import type { AgentSettings } from "./programs/agent.ts";
import type { TcpProxy } from "./tcp-proxy.ts";
import { until } from "./waiting.ts";

/** How far its clocks are from the others'. */
export interface ClockShift {
  readonly offsetMs: number;
  readonly jumpMs: number;
  readonly jumpAfterMs: number;
  /** Of its monotonic clock. */
  readonly rate: number;
}

export interface AgentProcessOptions {
  /** For people: `a1`, and `a1-twin` for a second one with the same id. */
  readonly name: string;
  readonly agentId: string;
  readonly runtime: RuntimeName;
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly storeUrl: string;
  readonly metadataUrl: string;
  readonly env: Readonly<Record<string, string>>;
  readonly log: string;
  /** Its way to the database, and to S3. */
  readonly database: TcpProxy;
  readonly store: TcpProxy;
  /** It ended although nobody had asked for it, after it had served. */
  readonly onCrash: (text: string) => void;
}

const stoppedWithinMs = 90_000;

/**
 * What is flushed is merged within seconds, its objects are deleted soon after, and what nobody refers to is swept while its writer may
 * still be at it: an agent's clock may be minutes ahead. None of that may cost a record.
 */
const upkeep = {
  mergeAgeMs: 4_000,
  mergeSharesMax: 24,
  mergeCheckMs: 700,
  deleteGraceMs: 3_000,
  retentionCheckMs: 1_500,
  orphanAgeMs: 10_000,
  sweepCheckMs: 4_000,
} as const satisfies AgentOptions;

export class AgentProcess {
  readonly options: AgentProcessOptions;
  #process: BoundProcess | undefined;
  #clock: ClockShift | undefined;
  /** It was told to end, or has not served yet. */
  #endExpected = true;

  constructor(options: AgentProcessOptions, clock: ClockShift | undefined) {
    this.options = options;
    this.#clock = clock;
  }

  get name(): string {
    return this.options.name;
  }

  get address(): string {
    return `127.0.0.1:${this.options.grpcPort}`;
  }

  get running(): boolean {
    return this.#process !== undefined && !this.#process.ended;
  }

  setClock(clock: ClockShift): void {
    this.#clock = clock;
  }

  /** Resolves when it is ready. One that cannot start yet, for want of its database or its bucket, is started again. */
  async start(signal?: AbortSignal): Promise<void> {
    await until(
      `agent ${this.name} to be ready; its log is ${this.options.log}`,
      async () => {
        if (!this.running) await this.#spawn();
        return this.#answers("/ready");
      },
      { signal },
    );
    this.#endExpected = false;
  }

  /** As a power cut. */
  async kill(): Promise<void> {
    this.#endExpected = true;
    if (this.running) this.#process?.signal("SIGKILL");
    await this.#process?.end();
  }

  /** Asks it to end, and waits for that. Answers whether it ended by itself, with exit code 0. */
  async stop(): Promise<boolean> {
    this.#endExpected = true;
    const child = this.#process;
    if (child === undefined || child.ended) return true;
    child.signal("SIGTERM");
    const ended = await until(`the end of ${this.name}`, () => child.ended, {
      withinMs: stoppedWithinMs,
    }).catch(() => false);
    if (!ended) await child.kill();
    return ended && child.exitCode === 0;
  }

  pause(): void {
    if (this.running) this.#process?.signal("SIGSTOP");
  }

  resume(): void {
    if (this.running) this.#process?.signal("SIGCONT");
  }

  /** A counter's or gauge's sum over its series; 0 if there are none. @throws Error if the agent does not answer */
  async metric(name: string): Promise<number> {
    const text = await (await this.#get("/metrics")).text();
    let sum = 0;
    for (const line of text.split("\n")) {
      if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue;
      sum += Math.abs(Number(/[}\w] (\S+)/.exec(line.slice(name.length - 1))?.[1]));
    }
    return sum;
  }

  /** Kills it if it runs, and closes its ways. */
  async close(): Promise<void> {
    this.#endExpected = true;
    await this.#process?.kill();
    await Promise.all([this.options.database.stop(), this.options.store.stop()]);
  }

  async #spawn(): Promise<void> {
    const { agentId, env, grpcPort, httpPort, log, metadataUrl, runtime, storeUrl } = this.options;
    this.#endExpected = true;
    const at = (port: number) => `127.0.0.1:${port}`;
    const settings: AgentSettings = {
      ...{ store: storeUrl, metadata: metadataUrl, grpc: at(grpcPort), http: at(httpPort) },
      agent: { ...upkeep, agentId },
    };
    appendFileSync(log, `--- started ${new Date().toISOString()} ${clockText(this.#clock)}\n`);
    const child = await startProgram(runtime, {
      file: "scripts/chaos/programs/agent.ts",
      args: [JSON.stringify(settings)],
      log,
      env: { ...env, ...clockEnv(this.#clock) },
      preload: this.#clock && "scripts/chaos/programs/shifted-clock.ts",
    });
    this.#process = child;
    void child.end().then(() => {
      if (this.#endExpected || this.#process !== child) return;
      this.options.onCrash(`agent ${this.name} ended by itself; its log is ${log}`);
    });
  }

  async #answers(path: string): Promise<boolean> {
    const answer = await this.#get(path).catch(() => undefined);
    await answer?.body?.cancel();
    return answer?.ok === true;
  }

  #get(path: string): Promise<Response> {
    const url = `http://127.0.0.1:${this.options.httpPort}${path}`;
    return fetch(url, { signal: AbortSignal.timeout(10_000) });
  }
}

function clockEnv(clock: ClockShift | undefined): Record<string, string> {
  if (clock === undefined) return {};
  return {
    CHAOS_CLOCK_OFFSET_MS: String(clock.offsetMs),
    CHAOS_CLOCK_JUMP_MS: String(clock.jumpMs),
    CHAOS_CLOCK_JUMP_AFTER_MS: String(clock.jumpAfterMs),
    CHAOS_CLOCK_RATE: String(clock.rate),
  };
}

function clockText(clock: ClockShift | undefined): string {
  return clock === undefined ? "" : `clock ${JSON.stringify(clock)}`;
}
