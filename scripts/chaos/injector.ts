/**
 * Injects faults as the schedule says: both lanes at once, one fault after the other in each. A fault is over when what it broke is
 * whole again and who it hit serves again. Called by `run.ts`.
 */
import { setTimeout as wait } from "node:timers/promises";
import type { AgentProcess } from "./agent-process.ts";
import { type FaultKind, faultKinds, lanes } from "./fault-kinds.ts";
import { Overtaking } from "./overtaking.ts";
import { Regrouping } from "./regrouping.ts";
import type { Fault } from "./schedule.ts";
import { createSeeded, type Seeded } from "./seeded.ts";
import type { StoreTrouble } from "./store-proxy.ts";
import type { LinkState } from "./tcp-proxy.ts";
import { until } from "./waiting.ts";
import { drawClock, type World } from "./world.ts";

export class Injector {
  readonly counts: Partial<Record<FaultKind, number>> = {};
  /** What makes others take over, and what became of that. */
  readonly overtaking: Overtaking;
  /** What makes groups regroup, and what stale members tried. */
  readonly regrouping: Regrouping;
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
    this.regrouping = new Regrouping(world);
    this.overtaking = new Overtaking(world);
  }

  /**
   * What has not begun after `untilMs` is left out: a fault that waits for something delays those behind it.
   * @throws Error if something does not recover; the signal's reason
   */
  async run(faults: readonly Fault[], untilMs: number): Promise<void> {
    const begin = performance.now();
    const running = lanes.map((lane) =>
      this.#runLane(
        faults.filter((it) => faultKinds[it.kind].lane === lane),
        { begin, end: begin + untilMs },
      ),
    );
    const outcomes = await Promise.allSettled(running);
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }

  async #runLane(
    faults: readonly Fault[],
    { begin, end }: { readonly begin: number; readonly end: number },
  ): Promise<void> {
    for (const fault of faults) {
      await this.#wait(fault.atMs - (performance.now() - begin));
      if (performance.now() > end) return;
      const random = createSeeded(fault.seed);
      const seconds = (fault.lastsMs / 1_000).toFixed(1);
      this.#world.options.say(`${fault.kind} ${this.#targetName(fault)}for ${seconds} s`);
      await this.#inject(fault, random);
      this.counts[fault.kind] = (this.counts[fault.kind] ?? 0) + 1;
    }
  }

  #targetName({ kind, target }: Fault): string {
    switch (faultKinds[kind].scope) {
      case "agent":
        return `${this.#agent(target).name} `;
      case "producer":
        return `${this.#world.producers[target]?.name} `;
      case "consumer":
        return `${this.#world.consumers[target]?.name} `;
      case "member":
        return `${this.#world.members[target]?.name} `;
      case "all":
        return "";
    }
  }

  #inject(fault: Fault, random: Seeded): Promise<void> {
    const { kind, lastsMs, target } = fault;
    switch (kind) {
      case "agentKill":
        return this.#killAgent(this.#agent(target), lastsMs);
      case "agentClock":
        this.#agent(target).setClock(drawClock(random));
        return this.#killAgent(this.#agent(target), lastsMs);
      case "agentKillCommitted":
        return this.#leader(target).then((agent) => this.overtaking.killCommitted(agent, lastsMs));
      case "agentPauseShort":
        return this.#pauseShort(this.#agent(target), lastsMs);
      case "agentPauseLong":
        return this.overtaking.pauseLong(this.#agent(target), lastsMs);
      case "agentPauseCommitting":
        return this.#leader(target).then((agent) =>
          this.overtaking.pauseCommitting(agent, lastsMs),
        );
      case "agentTwin":
        return this.#twin(this.#agent(target), lastsMs, random);
      case "rollingRestart":
        return this.#rollingRestart(lastsMs);
      case "databaseRestart":
        return this.#restartDatabase(lastsMs);
      case "databaseCut":
      case "databaseSilent":
      case "databaseSlow":
        return this.#breakLink("database", linkStates[kind], target, lastsMs, random);
      case "storeCut":
      case "storeSilent":
      case "storeSlow":
        return this.#breakLink("store", linkStates[kind], target, lastsMs, random);
      case "store503":
      case "store500":
      case "storeTimeout":
      case "storeBroken":
        return this.#breakStore(storeTroubles[kind], lastsMs, random);
      case "producerKill":
        return this.#restartClient(this.#world.producers[target], lastsMs);
      case "consumerKill":
        return this.#restartClient(this.#world.consumers[target], lastsMs);
      case "memberKill":
        return this.#restartClient(this.#world.members[target], lastsMs);
      case "memberRestart":
      case "memberPauseShort":
      case "memberPauseLong":
        return this.regrouping[kind](this.#world.members[target], lastsMs);
      case "memberMore":
        return this.regrouping.memberMore(lastsMs, random);
    }
  }

  async #killAgent(agent: AgentProcess, lastsMs: number): Promise<void> {
    await agent.kill();
    await this.#wait(lastsMs);
    await agent.start(this.#signal);
  }

  async #pauseShort(agent: AgentProcess, lastsMs: number): Promise<void> {
    agent.pause();
    try {
      await this.#wait(lastsMs);
    } finally {
      agent.resume();
    }
    await agent.start(this.#signal);
  }

  /** Another process says that it is the same agent; each run still has leases of its own. */
  async #twin(agent: AgentProcess, lastsMs: number, random: Seeded): Promise<void> {
    const { agentId, name, runtime } = agent.options;
    const twin = await this.#world.makeAgent(`${name}-twin`, agentId, runtime);
    try {
      await twin.start(this.#signal);
      await this.#wait(lastsMs);
      if (random.chance(0.5)) await twin.kill();
      else if (!(await twin.stop())) this.#world.trouble(`${twin.name} did not end by itself`);
    } finally {
      await twin.close();
    }
  }

  async #rollingRestart(pauseMs: number): Promise<void> {
    for (const agent of this.#world.agents) {
      if (!(await agent.stop())) this.#world.trouble(`${agent.name} did not stop in order`);
      await this.#wait(pauseMs);
      await agent.start(this.#signal);
    }
  }

  async #restartDatabase(lastsMs: number): Promise<void> {
    const { database } = this.#world;
    // It would take the commit that is being held with it.
    await until("the held commit to be delivered", () => this.overtaking.busy === undefined, {
      signal: this.#signal,
    });
    await database.stop("immediate");
    try {
      await this.#wait(lastsMs);
    } finally {
      await database.start();
    }
  }

  async #breakLink(
    which: "database" | "store",
    state: LinkState,
    target: number,
    lastsMs: number,
    random: Seeded,
  ): Promise<void> {
    const agent = this.#agent(target);
    // Both lanes at one proxy would only undo each other.
    const other =
      agent === this.overtaking.busy && which === "database" ? this.#agent(target + 1) : agent;
    const link = other.options[which];
    link.set(state, random.between(50, 400));
    try {
      await this.#wait(lastsMs);
    } finally {
      if (other !== this.overtaking.busy || which === "store") link.set("open");
    }
  }

  async #breakStore(what: StoreTrouble, lastsMs: number, random: Seeded): Promise<void> {
    const { storeProxy } = this.#world;
    storeProxy.begin(what, random);
    try {
      await this.#wait(lastsMs);
    } finally {
      storeProxy.heal();
    }
  }

  async #restartClient(
    client: { kill(): Promise<void>; start(): Promise<void> } | undefined,
    lastsMs: number,
  ): Promise<void> {
    await client?.kill();
    await this.#wait(lastsMs);
    await client?.start();
  }

  /** The agent, or the next one that leads partitions now: one that leads none commits nothing. */
  #leader(index: number): Promise<AgentProcess> {
    let at = index - 1;
    return until(
      "an agent that leads partitions",
      async () => {
        at += 1;
        const agent = this.#agent(at);
        const led = await agent.metric("streamhouse_active_partitions").catch(() => 0);
        return led > 0 && agent;
      },
      { signal: this.#signal },
    );
  }

  #agent(index: number): AgentProcess {
    const { agents } = this.#world;
    return agents[index % agents.length] as AgentProcess;
  }

  get #signal(): AbortSignal {
    return this.#world.options.signal;
  }

  /** An interrupted run heals what is broken, and ends. */
  async #wait(ms: number): Promise<void> {
    await wait(Math.max(0, ms), undefined, { signal: this.#signal });
  }
}

const linkStates = {
  databaseCut: "cut",
  databaseSilent: "silent",
  databaseSlow: "slow",
  storeCut: "cut",
  storeSilent: "silent",
  storeSlow: "slow",
} as const satisfies Partial<Record<FaultKind, LinkState>>;

const storeTroubles = {
  store503: 503,
  store500: 500,
  storeTimeout: "timeout",
  storeBroken: "broken",
} as const satisfies Partial<Record<FaultKind, StoreTrouble>>;
