/** Agents in processes of their own over one bucket and one database, and what they say of themselves. */
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { type Child, startChild } from "../child.ts";
import type { AgentProcessOptions, AgentUse } from "./agent-process.ts";
import type { Backends, Database } from "./cluster.ts";
import { settled } from "./settling.ts";

export interface FleetOptions {
  readonly agents: number;
  readonly partitions: number;
  /** Settings of the agents beyond the defaults. */
  readonly agent?: Readonly<Record<string, number>>;
  /** The bucket's address, where it is not the bucket's own. */
  readonly endpoint?: string;
}

/** The topic of every fleet. */
export const TOPIC = "scale";

export type Calls = ReadonlyMap<string, { readonly count: number; readonly seconds: number }>;

const SAMPLES =
  /^streamhouse_(store_operation|metadata_operation|flush)_duration_seconds_(count|sum)\{(.*?)\} (\S+)/gm;

function nameOf(family: string, labels: string): string | undefined {
  if (family === "flush") return "flush";
  const operation = /operation="(\w+)"/.exec(labels)?.[1];
  if (family === "store_operation") return operation;
  return operation === "commitFlush" ? "commit" : undefined;
}

let fleets = 0;

export class Fleet {
  readonly database: Database;
  readonly house: House;
  readonly #start: (number: number) => Promise<Child>;
  readonly #agents: Child[];

  private constructor(
    database: Database,
    house: House,
    agents: Child[],
    start: (number: number) => Promise<Child>,
  ) {
    this.database = database;
    this.house = house;
    this.#agents = agents;
    this.#start = start;
  }

  /** Agents, a topic, and every partition held by whom it belongs to. */
  static async open(backends: Backends, options: FleetOptions): Promise<Fleet> {
    const { bucket } = backends;
    const database = await backends.database();
    const prefix = `fleet-${++fleets}`;
    const start = (number: number): Promise<Child> => {
      const given: AgentProcessOptions = {
        store: bucket.url(prefix, options.endpoint),
        metadata: database.url,
        agentId: `agent-${number}`,
        ...(options.agent === undefined ? {} : { agent: options.agent }),
      };
      return startChild("bench/scale/agent-process.ts", [JSON.stringify(given)], bucket.env);
    };
    const agents: Child[] = [];
    try {
      for (let number = 1; number <= options.agents; number++) agents.push(await start(number));
      const house = await connect({ agents: [String(agents[0]?.ready.grpc)] });
      await house.admin.createTopic(TOPIC, { partitions: options.partitions });
      const fleet = new Fleet(database, house, agents, start);
      await settled(database, options.partitions);
      return fleet;
    } catch (error) {
      for (const agent of agents) await agent.kill();
      await database.close();
      throw error;
    }
  }

  get size(): number {
    return this.#agents.length;
  }

  /** One more; resolves when it serves, which is before it holds anything. */
  async join(): Promise<void> {
    this.#agents.push(await this.#start(this.#agents.length + 1));
  }

  /** The last one goes, in order or without a word. The clients' first address is the first agent's, which stays. */
  async leave(how: "stop" | "kill"): Promise<void> {
    await this.#agents.pop()?.[how]();
  }

  /** Of each agent. */
  use(): Promise<AgentUse[]> {
    return Promise.all(
      this.#agents.map(async ({ ready }) => {
        const answer = await fetch(String(ready.control));
        return (await answer.json()) as AgentUse;
      }),
    );
  }

  /**
   * Calls and seconds of all agents since their starts, by what was called: `put`, `get`, … of the store, `commit` of a flush in
   * metadata, `flush` from seal to commit.
   */
  async calls(): Promise<Calls> {
    const calls = new Map<string, { count: number; seconds: number }>();
    for (const { ready } of this.#agents) {
      const text = await (await fetch(`${ready.http}/metrics`)).text();
      for (const [, family = "", what = "", labels = "", value] of text.matchAll(SAMPLES)) {
        const name = nameOf(family, labels);
        if (name === undefined) continue;
        const entry = calls.get(name) ?? { count: 0, seconds: 0 };
        if (what === "count") entry.count += Number(value);
        else entry.seconds += Number(value);
        calls.set(name, entry);
      }
    }
    return calls;
  }

  async close(): Promise<void> {
    await this.house.close();
    for (const agent of this.#agents.splice(0)) await agent.stop();
    await this.database.close();
  }
}
