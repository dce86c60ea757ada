/**
 * Several agents in one process over one metadata store and one object store, on a clock that the test owns. Each has its own faults and
 * can be stopped as by SIGSTOP (nothing of it runs, what it had sent still arrives), woken, and killed. Used by the tests of fail-over.
 */
import assert from "node:assert/strict";
import { createAgent } from "../../src/agent/agent.ts";
import type { AgentOptions } from "../../src/agent/options.ts";
import { createCluster } from "../../src/client/cluster.ts";
import type { AgentConnection, Transport } from "../../src/client/transport.ts";
import type { Clock } from "../../src/core/clock.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import { type Logger, silentLogger } from "../../src/core/logger.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createSqliteMetadata } from "../../src/metadata/sqlite.ts";
import type { ProducerOptions } from "../../src/producer/options.ts";
import { createProducer, type Producer } from "../../src/producer/producer.ts";
import type { AgentApi } from "../../src/rpc/agent-api.ts";
import type { TelemetryOptions } from "../../src/telemetry/telemetry.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { type BenchAgent, seededRandom } from "../unit/agent/bench-agent.ts";
import { MemoryStore, TestSink } from "../unit/agent/memory-store.ts";
import { type Faults, withFaults } from "./faulty-metadata.ts";

/** Stops one agent's code at its edges, as SIGSTOP stops a process. */
export class Pause {
  #waiting: (() => void)[] = [];
  paused: boolean = false;
  /** For how long its monotonic clock has stood still, as that of a machine which was suspended, ms. */
  sleptMs: number = 0;

  /** Continues when the process runs. */
  async gate(): Promise<void> {
    while (this.paused) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Runs `fn` now, or first thing when the process is woken. */
  run(fn: () => void): void {
    if (this.paused) this.#waiting.push(() => this.run(fn));
    else fn();
  }

  wake(): void {
    this.paused = false;
    for (const go of this.#waiting.splice(0)) go();
  }
}

/** The clock of a process: it goes on while the process is stopped, but rings nothing. */
export function clockOf(clock: Clock, pause: Pause, apartMs: number): Clock {
  return {
    now: () => clock.now() + apartMs,
    monotonic: () => clock.monotonic() - pause.sleptMs,
    schedule(delayMs, fn) {
      let cancelled = false;
      const timer = clock.schedule(delayMs, () =>
        pause.run(() => {
          if (!cancelled) fn();
        }),
      );
      return {
        cancel() {
          cancelled = true;
          timer.cancel();
        },
      };
    },
  };
}

/** What a process calls outside: sent before it was stopped it arrives, but its answer waits for the waking. */
function gated<T extends object>(inner: T, pause: Pause, plain: readonly string[]): T {
  return new Proxy(inner, {
    get(target, name) {
      const member = Reflect.get(target, name, target) as unknown;
      if (typeof member !== "function" || plain.includes(String(name))) return member;
      return async (...args: unknown[]) => {
        try {
          return await (Reflect.apply(member, target, args) as Promise<unknown>);
        } finally {
          await pause.gate();
        }
      };
    },
  });
}

export interface MemberOptions {
  readonly agent?: AgentOptions;
  readonly telemetry?: TelemetryOptions | false;
  readonly logger?: Logger;
  /** Writes at once. Default 4, as on S3. */
  readonly concurrency?: number;
  /** How far its wall clock is from the others'. Default 0. */
  readonly apartMs?: number;
  /** Something around its way to metadata, such as one that is slow. */
  readonly around?: (metadata: MetadataStore) => MetadataStore;
}

/** One agent of the fleet. */
export interface Member extends BenchAgent {
  readonly name: string;
  readonly faults: Faults;
  readonly pause: Pause;
  /** Nobody can reach it any more. */
  dead: boolean;
}

export class Fleet {
  readonly clock: ManualClock = new ManualClock();
  readonly store: MemoryStore = new MemoryStore();
  /** Without faults. */
  readonly metadata: MetadataStore;
  readonly members: Map<string, Member> = new Map();
  /** Every agent that was ever started, for the end. */
  readonly #started: Member[] = [];
  /** What breaks with the connections to an agent. */
  readonly #calls = new Map<Member, Set<() => void>>();

  /** `watched` may put something around metadata. */
  constructor(watched: (metadata: MetadataStore) => MetadataStore = (it) => it) {
    const random = seededRandom(5);
    this.metadata = watched(createSqliteMetadata({ path: ":memory:", clock: this.clock, random }));
  }

  /** Starts an agent under this name, which is its id and its address. */
  async start(name: string, options: MemberOptions = {}): Promise<Member> {
    const pause = new Pause();
    const { metadata, faults } = withFaults(this.metadata);
    const { concurrency = 4, apartMs = 0, around = (it) => it } = options;
    const sink = new TestSink(this.store, { concurrency });
    const agent = createAgent(
      {
        metadata: gated(around(metadata), pause, ["watch"]),
        store: this.store,
        sink: gatedSink(sink, pause),
        clock: clockOf(this.clock, pause, apartMs),
        random: seededRandom(1_000 + this.#started.length),
        logger: options.logger ?? silentLogger,
        telemetry: options.telemetry ?? false,
      },
      { agentId: name, address: name, leaseTtlMs: 10_000, leaseRenewMs: 3_000, ...options.agent },
    );
    const shared = { clock: this.clock, metadata, store: this.store, sink };
    const member: Member = { name, agent, faults, pause, ...shared, dead: false };
    this.members.set(name, member);
    this.#started.push(member);
    await this.clock.until(agent.start());
    return member;
  }

  member(name: string): Member {
    const member = this.members.get(name);
    assert.ok(member, `agent ${name}`);
    return member;
  }

  /** The agent that may append to the partition, by its own belief; undefined while nobody does. */
  async holder(topicId: string, partition = 0): Promise<Member | undefined> {
    const leases = await this.metadata.listLeases();
    const lease = leases.find((it) => it.topicId === topicId && it.partition === partition);
    return [...this.members.values()].find((it) => !it.dead && it.agent.runId === lease?.runId);
  }

  /** The holder of the partition, once there is one that is not `other`. */
  async holderBut(other: Member, topicId: string, partition = 0): Promise<Member> {
    for (let i = 0; i < 1_000; i++) {
      const holder = await this.holder(topicId, partition);
      if (holder !== undefined && holder !== other) return holder;
      await this.clock.run(500);
    }
    throw new assert.AssertionError({ message: `nobody took ${partition} over` });
  }

  /** As kill -9: it never speaks again; what it had sent may still arrive (its faults' `release`). */
  kill(member: Member): void {
    member.dead = true;
    member.pause.paused = true;
    this.disconnect(member);
    if (this.members.get(member.name) === member) this.members.delete(member.name);
  }

  /** How a client reaches the agents. */
  transport(bootstrap: readonly string[]): Transport {
    const connections = new Map<string, AgentConnection>();
    return {
      bootstrap,
      connection: (address) => {
        let connection = connections.get(address);
        if (connection === undefined) {
          connection = this.#connection(address);
          connections.set(address, connection);
        }
        return connection;
      },
      close: async () => {},
    };
  }

  producer(
    options: ProducerOptions = {},
    more: { readonly telemetry?: TelemetryOptions | false; readonly seed?: number } = {},
  ): Producer {
    const random = seededRandom(more.seed ?? 77);
    const components = { clock: this.clock, random, logger: silentLogger };
    const transport = this.transport([...this.members.keys()]);
    const cluster = createCluster(transport, components);
    const telemetry = more.telemetry ?? false;
    return createProducer({ ...components, cluster, clientId: "test", telemetry }, options);
  }

  /** Stops everything, the dead too, and sees that nothing runs afterwards. */
  async stop(): Promise<void> {
    for (const { faults, pause, sink } of this.#started) {
      faults.down = false;
      for (const fates of Object.values(faults.next)) fates.length = 0;
      sink.fates.length = 0;
      pause.wake();
      faults.release();
      sink.release();
    }
    for (const { agent } of this.#started) await this.clock.until(agent.stop());
    assert.equal(this.clock.pending, 0, "nothing runs after the end");
  }

  #connection(address: string): AgentConnection {
    const call = (name: string) => (request: unknown, call: { readonly timeoutMs?: number }) =>
      this.#call(address, name, request, call);
    const api = new Proxy({} as AgentApi, { get: (_target, name) => call(String(name)) });
    return {
      ...{ address, api },
      openProducer: () => ({
        broken: false,
        // The network copies: agents must not stamp each other's bytes.
        produce: (request, options) => api.produce(structuredClone(request), options),
        close: async () => {},
      }),
      close: async () => {},
    };
  }

  /** A call as a network makes it: its time limit runs at the caller, and a stopped process reads it when it is woken. */
  #call(
    address: string,
    name: string,
    request: unknown,
    call: { readonly timeoutMs?: number },
  ): Promise<unknown> {
    const member = this.members.get(address);
    if (member === undefined) return Promise.reject(unreachable(address, "none"));
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const limit = setTimer(this.clock, call.timeoutMs, () => reject(late(address)));
    const serve = async () => {
      await member.pause.gate();
      if (member.dead) throw unreachable(address, "unknown");
      const method = Reflect.get(member.agent.api, name) as (...args: unknown[]) => unknown;
      const answer = await Reflect.apply(method, member.agent.api, [request, call]);
      await member.pause.gate();
      return answer;
    };
    const broken = () => reject(unreachable(address, "unknown"));
    const open = this.#open(member);
    open.add(broken);
    serve()
      .then(resolve, reject)
      .finally(() => open.delete(broken));
    const end = () => {
      limit();
      open.delete(broken);
    };
    promise.then(end, end);
    return promise;
  }

  #open(member: Member): Set<() => void> {
    let open = this.#calls.get(member);
    if (open === undefined) {
      open = new Set();
      this.#calls.set(member, open);
    }
    return open;
  }

  /** The connections to it break: whoever waits for an answer learns that there will be none. */
  disconnect(member: Member): void {
    for (const broken of [...this.#open(member)]) broken();
  }
}

function gatedSink(sink: TestSink, pause: Pause): TestSink {
  return gated(sink, pause, ["close"]);
}

function setTimer(clock: Clock, ms: number | undefined, fn: () => void): () => void {
  if (ms === undefined) return () => {};
  const timer = clock.schedule(ms, fn);
  return () => timer.cancel();
}

function unreachable(address: string, outcome: "none" | "unknown"): StreamHouseError {
  const message = `injected: nobody answers at ${address}`;
  return new StreamHouseError({ code: "AGENT_UNREACHABLE", kind: "unavailable", outcome, message });
}

function late(address: string): StreamHouseError {
  return new StreamHouseError({
    ...{ code: "DEADLINE_EXCEEDED", kind: "unavailable", outcome: "unknown" },
    message: `injected: no answer from ${address} in time`,
  });
}
