/**
 * A process with one consumer of a group in it: it reads record by record, works on each for a while, and can be stopped (SIGSTOP), woken,
 * cut off the network, closed and killed. Used by the simulation of groups.
 */
import { createCluster } from "../../src/client/cluster.ts";
import type { AgentConnection, Transport } from "../../src/client/transport.ts";
import { type Consumer, createConsumer } from "../../src/consumer/consumer.ts";
import type { ConsumerOptions } from "../../src/consumer/options.ts";
import { type Clock, sleep } from "../../src/core/clock.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import { type Logger, silentLogger } from "../../src/core/logger.ts";
import type { ConsumerRecord } from "../../src/core/record.ts";
import type { AgentApi } from "../../src/rpc/agent-api.ts";
import type { MetricRegistry } from "../../src/telemetry/cells.ts";
import { seededRandom } from "../unit/agent/bench-agent.ts";
import { clockOf, type Fleet, Pause } from "./fleet.ts";
import type { GroupModel } from "./group-model.ts";
import { capturingProvider } from "./telemetry/sabotage.ts";

export interface GroupMemberOptions {
  readonly name: string;
  readonly seed: number;
  readonly consumer?: Partial<ConsumerOptions>;
  /** How long it works on a record, ms. */
  readonly workMs: () => number;
  readonly logger?: Logger;
  /** A defect: what it sends, changed. */
  readonly distort?: (method: string, request: object) => object;
  /** A defect: its clock stands still while it is stopped. */
  readonly sleeps?: boolean;
  /** A defect: commits before it works. */
  readonly commitsFirst?: boolean;
}

export class GroupMemberProcess {
  readonly name: string;
  readonly consumer: Consumer;
  readonly pause: Pause = new Pause();
  readonly ended: Promise<void>;
  /** Nothing of it is sent any more, nor heard. */
  isCut = false;
  isDead = false;
  isClosing = false;
  readonly #model: GroupModel;
  readonly #options: GroupMemberOptions;
  readonly #clock: Clock;
  readonly #fleet: Fleet;
  readonly #provider = capturingProvider();
  #isDone = false;
  #stoppedAt = 0;

  constructor(fleet: Fleet, model: GroupModel, options: GroupMemberOptions) {
    this.name = options.name;
    this.#fleet = fleet;
    this.#model = model;
    this.#options = options;
    this.#clock = clockOf(fleet.clock, this.pause, 0);
    const random = seededRandom(options.seed);
    const logger = options.logger ?? silentLogger;
    const shared = { clock: this.#clock, random, logger };
    const transport = this.#gated(fleet.transport([...fleet.members.keys()]));
    const cluster = createCluster(transport, shared, { timeoutMs: 500, maxAgeMs: 5_000 });
    const { meterProvider } = this.#provider;
    this.consumer = createConsumer(
      { ...shared, cluster, clientId: options.name, telemetry: { meterProvider } },
      {
        ...{ group: "g", topics: ["t"], sessionTimeoutMs: 3_000, rebalanceTimeoutMs: 4_000 },
        ...{ autoCommitIntervalMs: 400, fetchMaxWaitMs: 300, requestTimeoutMs: 2_000 },
        ...{ connectTimeoutMs: 60_000, closeTimeoutMs: 2_000, prefetchBytes: 4_000 },
        ...options.consumer,
      },
    );
    const partitionsOf = (all: readonly { readonly partition: number }[]) =>
      all.map((it) => it.partition);
    this.consumer.onAssigned((all) => model.assigned(this, partitionsOf(all)));
    this.consumer.onRevoked((all) => model.revoked(this.name, partitionsOf(all)));
    this.ended = this.#run();
  }

  get isRunning(): boolean {
    return !this.isDead && !this.isClosing && !this.pause.paused && !this.#isDone;
  }

  get isStopped(): boolean {
    return this.pause.paused;
  }

  get registries(): readonly MetricRegistry[] {
    return this.#provider.registries;
  }

  /** As SIGSTOP. */
  stop(): void {
    this.#stoppedAt = this.#fleet.clock.monotonic();
    this.pause.paused = true;
  }

  /** As SIGCONT. */
  wake(): void {
    if (!this.pause.paused) return;
    if (this.#options.sleeps) this.pause.sleptMs += this.#fleet.clock.monotonic() - this.#stoppedAt;
    this.pause.wake();
  }

  /** As kill -9. */
  kill(): void {
    this.isDead = true;
    this.pause.paused = true;
  }

  /** In order, without waiting for it. */
  close(): void {
    this.isClosing = true;
    void this.consumer.close();
  }

  async #run(): Promise<void> {
    for (;;) {
      try {
        for await (const record of this.consumer) {
          await this.#work(record);
        }
        break;
      } catch (error) {
        // A killed one is only woken to be put away.
        if (this.isDead || this.isClosing) break;
        if (!StreamHouseError.is(error)) throw error;
        if (error.kind === "closed") break;
        await sleep(this.#clock, 200);
      }
    }
    this.#isDone = true;
  }

  async #work(record: ConsumerRecord): Promise<void> {
    const { partition, offset } = record;
    if (!this.isDead) this.#model.handOut(this.name, partition, offset);
    await this.pause.gate();
    if (this.isDead) return;
    if (this.#options.commitsFirst) await this.consumer.commit().catch(() => {});
    const ms = this.#options.workMs();
    if (ms > 0) await sleep(this.#clock, ms);
    await this.pause.gate();
    if (!this.isDead) this.#model.processed.add(`${partition}@${offset}`);
  }

  /** What it had sent before it was stopped arrives; its answer waits for the waking. */
  #gated(inner: Transport): Transport {
    const connections = new Map<string, AgentConnection>();
    return {
      ...inner,
      bootstrap: inner.bootstrap,
      connection: (address) => {
        let connection = connections.get(address);
        if (connection === undefined) {
          connection = this.#connection(inner.connection(address));
          connections.set(address, connection);
        }
        return connection;
      },
    };
  }

  #connection(inner: AgentConnection): AgentConnection {
    const call =
      (name: keyof AgentApi) =>
      async (request: object, context: { readonly timeoutMs?: number }) => {
        if (this.isCut || this.isDead) throw this.#unreachable("none");
        const sent = this.#options.distort?.(name, request) ?? request;
        const method = Reflect.get(inner.api, name) as (...args: unknown[]) => Promise<unknown>;
        const answered = await Promise.allSettled([method(structuredClone(sent), context)]);
        await this.pause.gate();
        if (this.isCut || this.isDead) throw this.#unreachable("unknown");
        const [answer] = answered;
        if (answer.status === "rejected") throw answer.reason;
        return answer.value;
      };
    const api = new Proxy({} as AgentApi, {
      get: (_target, name) => call(name as keyof AgentApi),
    });
    return { ...inner, address: inner.address, api };
  }

  #unreachable(outcome: "none" | "unknown"): StreamHouseError {
    const message = `injected: ${this.name} is cut off`;
    return new StreamHouseError({
      code: "AGENT_UNREACHABLE",
      kind: "unavailable",
      outcome,
      message,
    });
  }

  /** Puts it away after the end, dead or alive. */
  async put(): Promise<void> {
    this.isClosing = true;
    this.wake();
    await this.#fleet.clock.until(this.consumer.close());
    await this.#fleet.clock.until(this.ended);
  }
}
