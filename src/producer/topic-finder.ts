/**
 * Looks topics up by name, again and again while somebody waits for them, and tells when one is known or certainly not there.
 * One question at a time for each topic. Asked by the accumulator (a new topic) and the sender (an id that agents do not know).
 */
import type { Cluster } from "../client/cluster.ts";
import { type Clock, sleep } from "../core/clock.ts";
import { asStreamHouseError, type StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import { type Backoff, backoffMs, randomFraction } from "../core/retry.ts";
import { canRetry } from "./delivery.ts";
import type { TopicState } from "./topic-state.ts";

export interface FinderComponents {
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** A question is about to be asked again because of this. Only counts. */
  readonly onRetry: (error: StreamHouseError) => void;
  /** Aborts when the producer ends. */
  readonly ended: AbortSignal;
}

export interface FinderEvents {
  found(topic: TopicState): void;
  /** It cannot be found: everything for it fails. */
  lost(topic: TopicState, error: StreamHouseError): void;
  /** Nobody waits for it any more, and it was never found: it need not be kept. */
  unwanted(topic: TopicState): void;
}

/** How long a topic's number of partitions is believed: as Kafka's metadata.max.age.ms. */
const TOPIC_AGE_MS_MAX = 300_000;

export class TopicFinder {
  readonly #components: FinderComponents;
  readonly #backoff: Backoff;
  readonly #events: FinderEvents;

  constructor(components: FinderComponents, backoff: Backoff, events: FinderEvents) {
    this.#components = components;
    this.#backoff = backoff;
    this.#events = events;
  }

  /** Looks it up unless that is under way. `fresh`: what the client has cached is not enough. */
  find(topic: TopicState, options: { readonly fresh: boolean }): void {
    if (topic.finding || this.#components.ended.aborted) return;
    topic.finding = true;
    void this.#find(topic, options.fresh);
  }

  /** Looks in passing whether a known topic has more partitions. A failure changes nothing. */
  refresh(topic: TopicState): void {
    const { cluster, clock, ended } = this.#components;
    const { known } = topic;
    topic.refreshAt = clock.monotonic() + TOPIC_AGE_MS_MAX;
    if (known === undefined) return;
    cluster.topic(topic.name, { fresh: true, signal: ended }).then(
      (found) => {
        // Another id is for the agents' refusal to tell: what is on its way has the old one.
        if (topic.known?.id === found.id && !ended.aborted) topic.learn(found, topic.sticky);
      },
      () => {},
    );
  }

  async #find(topic: TopicState, fresh: boolean): Promise<void> {
    const { cluster, clock, random, ended } = this.#components;
    for (let attempt = 1; !ended.aborted; attempt++) {
      try {
        const found = await cluster.topic(topic.name, {
          fresh: fresh || attempt > 1,
          signal: ended,
        });
        topic.learn(found, Math.floor(randomFraction(random) * found.partitions));
        topic.refreshAt = clock.monotonic() + TOPIC_AGE_MS_MAX;
        topic.finding = false;
        this.#events.found(topic);
        return;
      } catch (thrown) {
        if (ended.aborted) return;
        const error = asStreamHouseError(thrown, `looking up topic ${topic.name}`);
        topic.lastError = error;
        if (!canRetry(error)) {
          topic.finding = false;
          this.#events.lost(topic, error);
          return;
        }
        // Everything that waited for it has met its deadline: the next send asks again.
        if (topic.pending === 0) break;
        this.#components.onRetry(error);
        const pauseMs = backoffMs(this.#backoff, attempt, random);
        await sleep(clock, Math.max(pauseMs, error.retryAfterMs ?? 0), ended).catch(() => {});
      }
    }
    topic.finding = false;
    if (topic.known === undefined && !ended.aborted) this.#events.unwanted(topic);
  }
}
