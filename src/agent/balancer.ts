/**
 * The round that compares what this agent holds with what it should hold: takes what is missing and free, hands over what is
 * another agent's by now. Nothing is taken from a live agent: it gives, and the hint of that starts the next round. Called by the
 * lease manager's ticker, never twice at once.
 */
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import { partitionKey, type Topic, type TopicPartition } from "../core/topic.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { ClusterView } from "./cluster-view.ts";
import { HandOver, toTopicPartition } from "./hand-over.ts";
import type { Holdings } from "./holdings.ts";
import type { LogIndex } from "./log-index.ts";
import type { Reachability } from "./reachability.ts";
import type { Topics } from "./topics.ts";

export interface BalancerComponents {
  readonly metadata: MetadataStore;
  readonly topics: Topics;
  readonly index: LogIndex;
  readonly holdings: Holdings;
  readonly view: ClusterView;
  readonly reachability: Reachability;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A partition whose lease was granted and that could not be served is not asked for again before so long. */
  readonly refusedMs: number;
}

/** The run that a round is for. */
export interface RoundOf {
  readonly runId: string;
  /** It is to hold nothing any more. */
  readonly retiring: boolean;
}

/** Leases taken in one transaction. */
const STEP = 1_000;

export class Balancer {
  readonly #parts: BalancerComponents;
  readonly #handOver: HandOver;
  #currentRun: () => string = () => "";
  /** Granted, but not fit to be served: until when they are left alone, by the monotonic clock. */
  readonly #refused = new Map<string, number>();

  constructor(components: BalancerComponents) {
    this.#parts = components;
    const { holdings, logger, metadata } = components;
    this.#handOver = new HandOver({
      ...{ metadata, logger },
      currentRun: () => this.#currentRun(),
      released: (hold) => holdings.remove(hold),
    });
  }

  /** Grants that come in when the run is another one by now are not for us. */
  followRun(currentRun: () => string): void {
    this.#currentRun = currentRun;
  }

  /** One round. False: metadata does not list the run among the living. @throws StreamHouseError `METADATA_UNAVAILABLE` */
  async round({ runId, retiring }: RoundOf): Promise<boolean> {
    const { holdings, index, topics, view } = this.#parts;
    const [, isLive] = await Promise.all([topics.refresh(), view.look(runId, retiring)]);
    if (this.#currentRun() !== runId || !isLive) return isLive;
    // What others commit is served from here too.
    if (view.hasOthers) await index.refresh();
    const wanted = new Set<string>();
    const missing: TopicPartition[] = [];
    for (const it of allPartitions(topics.all())) {
      if (view.ownerOf(it) !== runId) continue;
      wanted.add(partitionKey(it.topicId, it.partition));
      const hold = holdings.get(it.topicId, it.partition);
      if (hold !== undefined && this.#handOver.isInDoubt(hold)) holdings.remove(hold);
      else if (hold !== undefined) continue;
      if (this.#mayTake(it)) missing.push(it);
    }
    // Before any of what is held is given back: that would look like one of these.
    const stray = view.own.filter(
      (it) =>
        !wanted.has(partitionKey(it.topicId, it.partition)) &&
        holdings.get(it.topicId, it.partition) === undefined,
    );
    this.#handOver.begin(
      runId,
      [...holdings].filter((hold) => !wanted.has(hold.key)),
    );
    for (let i = 0; i < missing.length; i += STEP) {
      await this.#acquire(runId, missing.slice(i, i + STEP));
    }
    for (let i = 0; i < stray.length && this.#currentRun() === runId; i += STEP) {
      await this.#release(runId, stray.slice(i, i + STEP));
    }
    return true;
  }

  /**
   * Gives back leases that metadata has given to the run and that are not held here: the answer was lost, or they were dropped after
   * a refusal. Nobody takes them from a live run, so those that are another's by now would have no writer.
   */
  async #release(runId: string, stray: readonly TopicPartition[]): Promise<void> {
    const { metadata, reachability } = this.#parts;
    await reachability.watch(metadata.releaseLeases(runId, stray.map(toTopicPartition)));
  }

  /** Resolves when nothing is being handed over. */
  settled(): Promise<void> {
    return this.#handOver.settled();
  }

  /** Gives back everything that is held, settled or not. @throws StreamHouseError `METADATA_UNAVAILABLE` */
  async releaseAll(runId: string): Promise<void> {
    await this.#handOver.settled();
    const holds = [...this.#parts.holdings];
    for (const hold of holds) hold.phase = "releasing";
    for (let i = 0; i < holds.length; i += STEP) {
      const step = holds.slice(i, i + STEP);
      await this.#parts.metadata.releaseLeases(runId, step.map(toTopicPartition));
      for (const hold of step) this.#parts.holdings.remove(hold);
    }
  }

  #mayTake(it: TopicPartition): boolean {
    if (!this.#parts.view.isFree(it)) return false;
    if (this.#refused.size === 0) return true;
    const key = partitionKey(it.topicId, it.partition);
    const until = this.#refused.get(key);
    if (until === undefined) return true;
    if (until > this.#parts.clock.monotonic()) return false;
    this.#refused.delete(key);
    return true;
  }

  async #acquire(runId: string, partitions: readonly TopicPartition[]): Promise<void> {
    const { clock, holdings, metadata, reachability, refusedMs, topics } = this.#parts;
    const isCurrent = () => this.#currentRun() === runId;
    const grants = await reachability.watch(metadata.acquireLeases(runId, partitions));
    for (const grant of grants) {
      if (!isCurrent()) return;
      const topic = topics.byId(grant.topicId);
      if (topic === undefined || (await holdings.take(grant, topic, isCurrent))) continue;
      this.#refused.set(
        partitionKey(grant.topicId, grant.partition),
        clock.monotonic() + refusedMs,
      );
    }
  }
}

function* allPartitions(topics: Iterable<Topic>): Generator<TopicPartition, void, undefined> {
  for (const topic of topics) {
    for (let partition = 0; partition < topic.partitions; partition++) {
      yield { topicId: topic.id, partition };
    }
  }
}
