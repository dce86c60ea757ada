/**
 * Who this producer is to the agents (id and epoch), and what a partition's sequence numbers count for. Agents keep the sequences
 * with the data and so recognise a batch that is sent twice. An id is asked for when the first batch is sent; when a batch
 * with a sequence is given up, its partition drains what is on its way and goes on under the next epoch, while the others go on as they were.
 */
import type { Cluster } from "../client/cluster.ts";
import { type Clock, sleep } from "../core/clock.ts";
import { asStreamHouseError, type StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import { type Backoff, backoffMs } from "../core/retry.ts";
import { canRetry } from "./delivery.ts";

/** Id and epoch; each answer of InitProducer is another object. */
export interface Identity {
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** Sequences of a partition start at 0 for each identity and each topic id. */
export interface Basis {
  readonly identity: Identity;
  readonly topicId: string;
}

/** Sequences wrap here, as Kafka's: they are 31 bits. */
export function nextSequence(sequence: number, records: number): number {
  return (sequence + records) & 0x7fffffff;
}

/** Epochs are 16 bits on the wire: beyond this a new id is taken. */
const EPOCH_MAX = 32_766;

export interface IdentityComponents {
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** A question is about to be asked again because of this. Only counts. */
  readonly onRetry: (error: StreamHouseError) => void;
  /** Aborts when the producer ends. */
  readonly ended: AbortSignal;
}

export interface IdentityEvents {
  /** There is a (new) identity. */
  ready(): void;
  /** No agent will ever give one. */
  refused(error: StreamHouseError): void;
  /** Something still waits for it. */
  wanted(): boolean;
}

export class ProducerIdentity {
  readonly #components: IdentityComponents;
  readonly #settings: { readonly requestTimeoutMs: number; readonly backoff: Backoff };
  readonly #events: IdentityEvents;
  #identity: Identity | undefined;
  #freshId = false;
  #asking = false;
  /** Why there is none yet. */
  lastError: StreamHouseError | undefined = undefined;

  constructor(
    components: IdentityComponents,
    settings: { readonly requestTimeoutMs: number; readonly backoff: Backoff },
    events: IdentityEvents,
  ) {
    this.#components = components;
    this.#settings = settings;
    this.#events = events;
  }

  /** The newest; undefined before the first answer. */
  get current(): Identity | undefined {
    return this.#identity;
  }

  /** An identity that some partition used is of no use there any more: with `freshId` the next one has another id. */
  renew(used: Identity, options: { readonly freshId: boolean }): void {
    if (options.freshId && used === this.#identity) this.#freshId = true;
  }

  /** Asks for the first, or for the next one, unless it is asking already. */
  ask(): void {
    if (this.#asking) return;
    this.#asking = true;
    void this.#ask().finally(() => {
      this.#asking = false;
    });
  }

  async #ask(): Promise<void> {
    const { clock, random, ended } = this.#components;
    for (let attempt = 1; !ended.aborted; attempt++) {
      try {
        this.#identity = await this.#question();
        this.#freshId = false;
        this.lastError = undefined;
        this.#asking = false;
        this.#events.ready();
        return;
      } catch (thrown) {
        if (ended.aborted) return;
        const error = asStreamHouseError(thrown, "InitProducer");
        this.lastError = error;
        if (!canRetry(error) || isStranger(error)) {
          // The epoch is not ours any more (the answer to an earlier question was lost), or forgotten: be somebody else.
          if (this.#freshId || this.#identity === undefined) {
            this.#asking = false;
            this.#events.refused(error);
            return;
          }
          this.#freshId = true;
        }
        if (!this.#events.wanted()) return;
        this.#components.onRetry(error);
        const pauseMs = Math.max(
          backoffMs(this.#settings.backoff, attempt, random),
          error.retryAfterMs ?? 0,
        );
        await sleep(clock, pauseMs, ended).catch(() => {});
      }
    }
  }

  async #question(): Promise<Identity> {
    const { cluster, ended } = this.#components;
    const old = this.#identity;
    const same = old !== undefined && !this.#freshId && old.producerEpoch < EPOCH_MAX;
    const agent = await cluster.any(ended);
    try {
      const answer = await agent.api.initProducer(
        same
          ? { producerId: old.producerId, producerEpoch: old.producerEpoch }
          : { producerId: 0, producerEpoch: 0 },
        { timeoutMs: this.#settings.requestTimeoutMs, signal: ended },
      );
      return { producerId: answer.producerId, producerEpoch: answer.producerEpoch };
    } catch (error) {
      // No partition is concerned: this is about the agent that `any()` answered.
      cluster.note("", -1, error);
      throw error;
    }
  }
}

function isStranger(error: StreamHouseError): boolean {
  return error.code === "PRODUCER_FENCED" || error.code === "UNKNOWN_PRODUCER";
}
