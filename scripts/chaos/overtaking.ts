/**
 * The faults after which somebody else takes over: an agent that sleeps beyond its lease, that sleeps in the middle of a commit, that dies
 * after a commit of which it never heard. What they prove is kept for the judge. Called by the injector.
 */
import { setTimeout as wait } from "node:timers/promises";
import type { AgentProcess } from "./agent-process.ts";
import type { Overtaken } from "./fence-check.ts";
import { until } from "./waiting.ts";
import { topic, type World } from "./world.ts";

/** A flush's commit names its object; nothing else that an agent tells the database so often does. */
const flushKeyEnd = ".seg";

const sleepsMax = 3;

export class Overtaking {
  readonly overtaken: Overtaken[] = [];
  /** Batches that agents refused, or had refused, after they woke up, as they counted them. */
  fencedWritesSeen = 0;
  readonly #world: World;
  #busy: AgentProcess | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  /** The agent whose way to the database is held now; other faults leave that alone. */
  get busy(): AgentProcess | undefined {
    return this.#busy;
  }

  /** Wakes it when another run has everything that it had. */
  async pauseLong(agent: AgentProcess, lastsMs: number): Promise<void> {
    const runs = await this.#world.witness.runsOf(agent.options.agentId, this.#signal);
    const before = await this.#fencedWrites(agent);
    agent.pause();
    try {
      await this.#wait(lastsMs);
      await this.#takenOver(agent, runs);
    } finally {
      agent.resume();
    }
    await agent.start(this.#signal);
    this.fencedWritesSeen += (await this.#fencedWrites(agent)) - before;
  }

  /**
   * Its commit is on its way when it stops, and is delivered only after another run has its leases: the most dangerous moment there is.
   * It must be refused, and the agent must say so. Where the other lane broke the connection meanwhile there is no refusal to hear of:
   * then it is put to sleep again.
   */
  async pauseCommitting(agent: AgentProcess, lastsMs: number): Promise<void> {
    for (let tries = 1; tries <= sleepsMax; tries++) {
      const before = await this.#fencedWrites(agent);
      await this.#sleepCommitting(agent, lastsMs);
      await agent.start(this.#signal);
      const told = await until(
        "a write that was refused",
        async () => (await this.#fencedWrites(agent)) - before || undefined,
        { signal: this.#signal, withinMs: 10_000 },
      ).catch(() => 0);
      this.#signal.throwIfAborted();
      this.fencedWritesSeen += told;
      if (told > 0) return;
    }
    this.#world.trouble(`${agent.name} counts no write that was refused`);
  }

  async #sleepCommitting(agent: AgentProcess, lastsMs: number): Promise<void> {
    const { database, name } = agent.options;
    this.#busy = agent;
    try {
      await until(`a commit of ${name} to be on its way`, () => this.#holdCommit(agent), {
        signal: this.#signal,
      });
      agent.pause();
      const runs = await this.#world.witness.runsOf(agent.options.agentId, this.#signal);
      await this.#wait(lastsMs);
      await this.#takenOver(agent, runs);
    } finally {
      database.set("open");
      this.#busy = undefined;
      agent.resume();
    }
  }

  /** Its producers send again what is in the log already: only the sequences that were committed with it can tell. */
  async killCommitted(agent: AgentProcess, lastsMs: number): Promise<void> {
    const { witness } = this.#world;
    const { database, name } = agent.options;
    this.#busy = agent;
    try {
      await until(
        `a commit of ${name} to be applied unheard`,
        async () => {
          const runs = await witness.runsOf(agent.options.agentId, this.#signal);
          database.set("open");
          await this.#wait(500);
          // A commit that is under way at this moment is as good as the next: it is applied, and not heard of. There is no next one then,
          // since commits go one after another.
          const before = await witness.flushesOf(runs, this.#signal);
          database.set("deaf");
          const applied = async () => (await witness.flushesOf(runs, this.#signal)) > before;
          const options = { signal: this.#signal, withinMs: 3_000 };
          return until("a commit", applied, options).catch(() => false);
        },
        { signal: this.#signal },
      );
      await agent.kill();
    } finally {
      database.set("open");
      this.#busy = undefined;
    }
    await this.#wait(lastsMs);
    await agent.start(this.#signal);
  }

  /** Answers whether a commit is held now. If none comes the way is opened again: an agent without its database has none. */
  async #holdCommit(agent: AgentProcess): Promise<boolean> {
    const { database } = agent.options;
    database.set("held");
    const held = await until("a commit", () => database.holds(flushKeyEnd), {
      signal: this.#signal,
      withinMs: 3_000,
    }).catch(() => false);
    if (held) {
      // For more batches to arrive, that wait behind it.
      await this.#wait(500);
      return true;
    }
    database.set("open");
    await this.#wait(1_000);
    return false;
  }

  /** Waits until none of the runs holds anything, and keeps how far the log was then. */
  async #takenOver(agent: AgentProcess, runs: readonly string[]): Promise<void> {
    const over = new Set(runs);
    const { newestFlushId } = await until(
      `others to take over from ${agent.name}`,
      async () => {
        const now = await this.#world.witness.holdings(topic, this.#signal);
        return now.partitions.every((it) => it.runId !== "" && !over.has(it.runId)) && now;
      },
      { signal: this.#signal },
    );
    for (const runId of runs) this.overtaken.push({ agent: agent.name, runId, newestFlushId });
  }

  #fencedWrites(agent: AgentProcess): Promise<number> {
    const name = "streamhouse_fenced_writes_total";
    return until(`${agent.name} to answer`, () => agent.metric(name).catch(() => undefined), {
      signal: this.#signal,
    });
  }

  get #signal(): AbortSignal {
    return this.#world.options.signal;
  }

  async #wait(ms: number): Promise<void> {
    await wait(ms, undefined, { signal: this.#signal });
  }
}
