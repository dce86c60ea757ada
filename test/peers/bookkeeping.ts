/**
 * The world of the exactly-once tests: a real PostgreSQL, an agent with a topic of numbered transfers, workers as processes that can be
 * killed, stopped and woken, and a checker that compares the books with what was acknowledged. Everything ends with `end()`.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import process from "node:process";
import type { Transfer } from "../../examples/exactly-once/ledger.ts";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import { type RuntimeName, root, runtimePath } from "../../scripts/runtimes.ts";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { type Served, serve } from "../../src/serve/serve.ts";
import { eventually } from "../integration/child.ts";
import { scratch } from "../package/packed.ts";

/** A worker is out of its group after so long without a heartbeat. */
export const SESSION_MS = 1_500;

const ACCOUNTS = ["ada", "bo", "cy", "dot", "eve"];

/** What the checker finds. All zero: exactly once. */
export interface Verdict {
  readonly lost: number;
  readonly duplicated: number;
  /** Booked, and never sent. */
  readonly invented: number;
  /** By how much the accounts differ from the ledger. */
  readonly unbalanced: number;
}

export const exactlyOnce: Verdict = { lost: 0, duplicated: 0, invented: 0, unbalanced: 0 };

/** A worker's process. */
export class Worker {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly closed: Promise<unknown>;
  ended = false;
  stdout = "";
  stderr = "";

  constructor(
    runtime: RuntimeName,
    file: string,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
  ) {
    const before = runtime === "deno" ? ["run", "-A", "--no-check"] : [];
    const all = [...before, join(root, file), ...args];
    this.#process = spawn(runtimePath(runtime), all, {
      cwd: root,
      env: { ...process.env, ...env },
    });
    this.#process.stdout.on("data", (part: Uint8Array) => {
      this.stdout += new TextDecoder().decode(part);
    });
    this.#process.stderr.on("data", (part: Uint8Array) => {
      this.stderr = (this.stderr + new TextDecoder().decode(part)).slice(-20_000);
    });
    this.#process.stdin.on("error", () => {});
    this.closed = once(this.#process, "close").then(() => {
      this.ended = true;
    });
  }

  signal(name: "SIGKILL" | "SIGSTOP" | "SIGCONT" | "SIGTERM"): void {
    if (!this.ended) this.#process.kill(name);
  }

  tell(line: string): void {
    this.#process.stdin.write(`${line}\n`);
  }

  /** Resolves with what of its output fits. @throws Error if it ends before it says so */
  async says(words: RegExp): Promise<string> {
    return eventually(`${words} from a worker`, () => {
      const found = words.exec(this.stdout)?.[0];
      if (found === undefined && this.ended) throw new Error(`no ${words}: ${this.stderr}`);
      return found;
    });
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.closed;
  }
}

export class Bookkeeping {
  readonly house: House;
  readonly postgres: PostgresServer;
  readonly #agent: Served;
  readonly #folder: ReturnType<typeof scratch>;
  readonly #workers: Worker[] = [];

  private constructor(
    postgres: PostgresServer,
    agent: Served,
    house: House,
    folder: ReturnType<typeof scratch>,
  ) {
    this.postgres = postgres;
    this.#agent = agent;
    this.house = house;
    this.#folder = folder;
  }

  static async start(): Promise<Bookkeeping> {
    const folder = scratch("exactly-once");
    const postgres = await startPostgres();
    try {
      const data = join(folder.path, "data");
      const agent = await serve({ data, grpc: "127.0.0.1:0", http: false, telemetry: false });
      const house = await connect({ agents: [agent.grpc] });
      return new Bookkeeping(postgres, agent, house, folder);
    } catch (error) {
      await postgres.remove();
      folder.remove();
      throw error;
    }
  }

  worker(
    runtime: RuntimeName,
    file: string,
    topic: string,
    database: string,
    env: Readonly<Record<string, string>> = {},
  ): Worker {
    const url = this.postgres.urlOf(database);
    const more = { DATABASE_URL: url, SESSION_TIMEOUT_MS: String(SESSION_MS), ...env };
    const worker = new Worker(runtime, file, [this.#agent.grpc, topic], more);
    this.#workers.push(worker);
    return worker;
  }

  /** Sends until told to stop; answers what was acknowledged: everything, or it throws. */
  async sending(topic: string, signal: AbortSignal, most: number): Promise<readonly Transfer[]> {
    await using producer = this.house.producer({ lingerMs: 5 });
    const sent: Transfer[] = [];
    while (!signal.aborted && sent.length < most) {
      const some = Array.from({ length: 10 }, (_, i) => transferOf(sent.length + i));
      const sends = some.map((it) =>
        producer.send({ topic, key: it.from, value: JSON.stringify(it) }),
      );
      await Promise.all(sends);
      sent.push(...some);
    }
    return sent;
  }

  /** Resolves when the rows of all partitions are at the log's end. */
  async booked(topic: string, database: string): Promise<void> {
    const ends = await this.house.admin.offsets(topic, "latest");
    await eventually(`every record of ${topic} to be booked${this.#said()}`, async () => {
      const rows = await this.postgres.query(
        "SELECT partition, next_offset FROM positions",
        database,
      );
      const at = new Map(rows.map((row) => [row.partition, Number(row.next_offset)]));
      return ends.every(({ partition, offset }) => (at.get(partition) ?? 0) === offset);
    });
  }

  async check(sent: readonly Transfer[], database: string): Promise<Verdict> {
    const ledger = await this.postgres.query(
      'SELECT id, "from", "to", amount FROM ledger',
      database,
    );
    const accounts = await this.postgres.query("SELECT name, balance FROM accounts", database);
    const times = new Map<number, number>();
    const balances = new Map<unknown, number>();
    for (const { id, from, to, amount } of ledger) {
      times.set(Number(id), (times.get(Number(id)) ?? 0) + 1);
      balances.set(from, (balances.get(from) ?? 0) - Number(amount));
      balances.set(to, (balances.get(to) ?? 0) + Number(amount));
    }
    const off = accounts.map((it) => Number(it.balance) - (balances.get(it.name) ?? 0));
    const ids = new Set(sent.map(({ id }) => id));
    return {
      lost: sent.filter(({ id }) => !times.has(id)).length,
      duplicated: [...times.values()].filter((it) => it > 1).length,
      invented: [...times.keys()].filter((id) => !ids.has(id)).length,
      unbalanced: off.reduce((sum, it) => sum + Math.abs(it), 0),
    };
  }

  async end(): Promise<void> {
    // A stopped process dies of SIGKILL too.
    await Promise.all(this.#workers.map((it) => it.kill()));
    await this.house.close();
    await this.#agent.stop();
    await this.postgres.remove();
    this.#folder.remove();
  }

  #said(): string {
    const last = this.#workers.filter((it) => it.stderr !== "").map((it) => it.stderr.slice(-300));
    return last.length === 0 ? "" : `; workers said: ${last.slice(-3).join(" | ")}`;
  }
}

function transferOf(id: number): Transfer {
  const account = (n: number) => ACCOUNTS[n % ACCOUNTS.length] ?? "";
  return { id, from: account(id), to: account(id * 3 + 1), amount: 1 + (id % 9) };
}
