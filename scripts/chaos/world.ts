/**
 * Everything that a chaos run consists of: real servers, proxies, agents, clients. Built in order, taken down in reverse, whatever
 * happened. The injector breaks it; `run.ts` judges it.
 */
import { join } from "node:path";
import { connect } from "../../src/house/connect.ts";
import { freePorts } from "../backends/bound-process.ts";
import { type PostgresServer, startPostgres } from "../backends/postgres.ts";
import { type Radosgw, startRadosgw } from "../backends/radosgw.ts";
import type { RuntimeName } from "../runtimes.ts";
import { AgentProcess, type ClockShift } from "./agent-process.ts";
import {
  type ClientSettings,
  ConsumerClient,
  NewcomersClient,
  ProducerClient,
  RereaderClient,
} from "./clients.ts";
import type { Say } from "./console.ts";
import { MemberClient, type MemberOptions, sharedGroups } from "./members.ts";
import { runtimes } from "./program.ts";
import { createSeeded, type Seeded } from "./seeded.ts";
import type { ChaosSettings } from "./settings.ts";
import { Sink } from "./sink.ts";
import { StoreProxy } from "./store-proxy.ts";
import { TcpProxy } from "./tcp-proxy.ts";
import { until } from "./waiting.ts";
import { Witness } from "./witness.ts";

export const topic = "chaos";

/**
 * An agent waits for an answer a little longer than this. It must outlast its sleep: one that gave its commit up at the moment of waking
 * would never read the refusal, which it is to tell of.
 */
const statementMs = 60_000;

export interface WorldOptions {
  readonly settings: ChaosSettings;
  /** Journals and logs. */
  readonly folder: string;
  readonly say: Say;
  readonly signal: AbortSignal;
}

export class World {
  readonly options: WorldOptions;
  /** What went wrong beside the records: programs that ended by themselves. */
  readonly problems: string[] = [];
  readonly agents: AgentProcess[] = [];
  readonly producers: ProducerClient[] = [];
  readonly newcomers: NewcomersClient[] = [];
  readonly consumers: ConsumerClient[] = [];
  readonly rereaders: RereaderClient[] = [];
  /** Of shared groups. Those that come for a while are behind the others. */
  readonly members: MemberClient[] = [];
  readonly #cleanups: (() => Promise<unknown>)[] = [];
  #database: PostgresServer | undefined;
  #databaseUrl = "";
  #store: Radosgw | undefined;
  #storeProxy: StoreProxy | undefined;
  #witness: Witness | undefined;
  #sink: Sink | undefined;

  constructor(options: WorldOptions) {
    this.options = options;
  }

  get database(): PostgresServer {
    return there(this.#database);
  }

  get storeProxy(): StoreProxy {
    return there(this.#storeProxy);
  }

  get witness(): Witness {
    return there(this.#witness);
  }

  get sink(): Sink {
    return there(this.#sink);
  }

  async build(): Promise<void> {
    const { say, settings, signal } = this.options;
    say("starting PostgreSQL and radosgw");
    const [database, store] = await Promise.all([this.#startDatabase(), this.#startStore()]);
    this.#database = database;
    this.#store = store;
    this.#storeProxy = await StoreProxy.start(store.endpoint);
    this.#cleanups.push(() => this.storeProxy.stop());
    this.#witness = new Witness(this.#databaseUrl);
    this.#cleanups.push(() => this.witness.close());
    this.#sink = new Sink(await database.createDatabase("sink"));
    this.#cleanups.push(() => this.sink.close());
    await this.sink.begin();
    say(`starting ${settings.agents} agents on ${runtimes.join(", ")}`);
    const random = createSeeded(settings.seed, "clocks");
    for (let i = 0; i < settings.agents; i++) {
      // The first one's clock is right; the others' are off from the beginning.
      const clock = i === 0 ? undefined : drawClock(random);
      this.agents.push(await this.makeAgent(`a${i + 1}`, `a${i + 1}`, runtimeOf(i), clock));
    }
    await Promise.all(this.agents.map((it) => it.start(signal)));
    await this.witness.begin();
    await this.#createTopic();
    say(`starting ${settings.producers} producers and ${settings.consumers} consumers`);
    await this.#startClients();
  }

  /** A process with its own ports and proxies; not started. */
  async makeAgent(
    name: string,
    agentId: string,
    runtime: RuntimeName,
    clock?: ClockShift,
  ): Promise<AgentProcess> {
    const [grpcPort = 0, httpPort = 0] = await freePorts(2);
    const database = await TcpProxy.start("127.0.0.1", this.database.port);
    const store = await TcpProxy.start("127.0.0.1", this.storeProxy.port);
    const rgw = there(this.#store);
    const agent = new AgentProcess(
      {
        ...{ name, agentId, runtime, grpcPort, httpPort, database, store },
        storeUrl: rgw.url("chaos", `http://127.0.0.1:${store.port}`),
        metadataUrl: `${this.#databaseUrl.replace(`:${this.database.port}/`, `:${database.port}/`)}?statement_timeout=${statementMs}`,
        env: rgw.env,
        log: join(this.options.folder, `${name}.log`),
        onCrash: (text) => this.trouble(text),
      },
      clock,
    );
    this.#cleanups.push(() => agent.close());
    return agent;
  }

  /** One more member of a shared group; not started. */
  makeMember(group: keyof typeof sharedGroups): MemberClient {
    const index = this.members.length;
    const ways = ["poll", "run", "iterate"] as const;
    const way = group === "booking" ? "sink" : (ways[index % ways.length] ?? "poll");
    // Every third one has a name that stays.
    const options: MemberOptions = { group: sharedGroups[group], way, isStatic: index % 3 === 1 };
    const member = new MemberClient(this.#clientSettings(), index, options, this.sink.url);
    this.members.push(member);
    this.#cleanups.push(() => member.close());
    return member;
  }

  trouble(text: string): void {
    this.problems.push(text);
    this.options.say(text);
  }

  /** Ends everything that was started, by its pid. Idempotent. */
  async close(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).toReversed()) {
      await cleanup().catch((error: unknown) => console.error(`cleaning up: ${String(error)}`));
    }
  }

  async #startDatabase(): Promise<PostgresServer> {
    const server = await startPostgres();
    this.#cleanups.push(() => server.remove());
    this.#databaseUrl = await server.createDatabase("chaos");
    return server;
  }

  async #startStore(): Promise<Radosgw> {
    const store = await startRadosgw();
    this.#cleanups.push(() => store.stop());
    return store;
  }

  async #createTopic(): Promise<void> {
    const { settings, signal } = this.options;
    const house = await connect({ agents: this.agents.map((it) => it.address) });
    this.#cleanups.push(() => house.close());
    await house.admin.createTopic(topic, { partitions: settings.partitions });
    await until(
      "every partition to be led",
      async () => {
        const { partitions } = await this.witness.holdings(topic, signal);
        return partitions.every((it) => it.runId !== "");
      },
      { signal },
    );
    await house.close();
  }

  #clientSettings(): ClientSettings {
    const { folder, settings } = this.options;
    const { rate, seed } = settings;
    const agents = this.agents.map((it) => it.address);
    const onCrash = (text: string) => this.trouble(text);
    return { agents, topic, folder, seed, rate, onCrash };
  }

  async #startClients(): Promise<void> {
    const { consumers, members, partitions, producers, seed } = this.options.settings;
    const shared = this.#clientSettings();
    for (let i = 0; i < producers; i++) this.producers.push(new ProducerClient(shared, i));
    for (let i = 0; i < consumers; i++) this.consumers.push(new ConsumerClient(shared, i));
    // These are left alone, one of each, on one of the runtimes.
    this.newcomers.push(new NewcomersClient(shared, (seed + 1) % runtimes.length));
    this.rereaders.push(new RereaderClient(shared, seed % runtimes.length, partitions));
    const clients = [...this.producers, ...this.newcomers, ...this.consumers, ...this.rereaders];
    for (const client of clients) this.#cleanups.push(() => client.close());
    // Two of five book.
    for (let i = 0; i < members; i++) this.makeMember(i % 5 < 3 ? "journaling" : "booking");
    await Promise.all([...clients, ...this.members].map((it) => it.start()));
  }
}

/** Minutes off, jumping by as much while it runs, and up to an eighth too fast or too slow. */
export function drawClock(random: Seeded): ClockShift {
  const minutes = () => random.pick([-1, 1]) * random.between(60_000, 420_000);
  return {
    offsetMs: minutes(),
    jumpMs: minutes(),
    jumpAfterMs: random.between(3_000, 20_000),
    rate: random.between(875, 1_125) / 1_000,
  };
}

function runtimeOf(index: number): RuntimeName {
  return runtimes[index % runtimes.length] as RuntimeName;
}

function there<T>(part: T | undefined): T {
  if (part === undefined) throw new Error("the world is not built yet");
  return part;
}
