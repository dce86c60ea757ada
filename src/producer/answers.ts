/**
 * What becomes of a batch after an attempt, or when its time is over: acknowledged, sent again, or given up. Every record is settled
 * exactly once, here, with its numbers. Called by the sender.
 */
import type { Cluster } from "../client/cluster.ts";
import type { Clock } from "../core/clock.ts";
import { invalid, type StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import { backoffMs } from "../core/retry.ts";
import type { BatchResult } from "../rpc/gen/streamhouse/v1/producer.ts";
import { fromErrorDetail } from "../rpc/status.ts";
import type { Accumulator } from "./accumulator.ts";
import type { ProducerBatch } from "./batch.ts";
import {
  type Attempt,
  canRetry,
  closedError,
  comesHere,
  deadlineError,
  judge,
  mayHaveMoved,
  withUnknownOutcome,
} from "./delivery.ts";
import type { ResolvedProducerOptions } from "./options.ts";
import { nextSequence, type ProducerIdentity } from "./sequence.ts";
import type { TopicFinder } from "./topic-finder.ts";
import type { Partition, TopicState } from "./topic-state.ts";

export interface AnswerComponents {
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly accumulator: Accumulator;
  readonly identity: ProducerIdentity;
  readonly finder: TopicFinder;
}

/**
 * Longest pause between two looks for the holder of a partition, ms: whoever takes over from a dead agent is found soon after, and
 * an agent that does not hold it answers from memory.
 */
const LOOKING_PAUSE_MS = 500;

export class Answers {
  readonly #options: ResolvedProducerOptions;
  readonly #components: AnswerComponents;
  /** Bytes of batches that were on their way at least once and failed. For the audit. */
  bytesGivenUp = 0;

  constructor(options: ResolvedProducerOptions, components: AnswerComponents) {
    this.#options = options;
    this.#components = components;
  }

  /** The batch is not on its way any more. */
  land(partition: Partition, batch: ProducerBatch): void {
    batch.flying = false;
    const at = partition.inFlight.indexOf(batch);
    if (at >= 0) partition.inFlight.splice(at, 1);
    if (partition.inFlight.length === 0) partition.recovering = false;
  }

  /** The agent answered for this batch. */
  answered(partition: Partition, batch: ProducerBatch, result: BatchResult): void {
    if (result.error !== undefined) {
      this.attemptFailed(partition, batch, fromErrorDetail(result.error));
      return;
    }
    this.land(partition, batch);
    if (batch.phase === "done") return;
    partition.failures = 0;
    partition.followed = false;
    partition.retryAt = 0;
    this.#acknowledge(partition, batch, result.baseOffset);
  }

  #acknowledge(partition: Partition, batch: ProducerBatch, baseOffset: number): void {
    const { accumulator, clock } = this.#components;
    const { topic } = partition;
    const now = clock.monotonic();
    // Those whose callers gave up while it was on its way have failed already.
    topic.instruments.sent(partition.index, batch.unsettled);
    topic.instruments.bytesSent.add(batch.sizeBytes);
    topic.instruments.batchEnded({
      partition: partition.index,
      records: batch.recordCount,
      seconds: (now - batch.handedOverAt) / 1_000,
      span: batch.requestSpan,
    });
    accumulator.settled(topic, batch.unsettled);
    batch.sent(topic, partition.index, this.#options.acks === "durable" ? baseOffset : -1, now);
    accumulator.release(batch);
  }

  /**
   * An attempt failed. `blameless`: the request was refused because of another batch in it, so this one need not pause.
   */
  attemptFailed(
    partition: Partition,
    batch: ProducerBatch,
    error: StreamHouseError,
    blameless = false,
  ): void {
    const wasRecovering = partition.recovering;
    this.land(partition, batch);
    if (batch.phase === "done") return;
    batch.lastError = moreTelling(batch.lastError, error);
    partition.lastError = error;
    if (error.outcome === "unknown") batch.tainted = true;
    const first = isFirst(partition, batch);
    if (error.code === "SEQUENCE_GAP")
      this.#gap(partition, batch, { first, isAhead: error.retriable });
    if (mayHaveMoved(error) && !blameless) this.#noteMove(partition, error);
    const verdict = blameless ? "retry" : judge(error, this.#attemptOf(batch, first));
    switch (verdict) {
      case "give-up":
        this.giveUp(partition, batch, batch.tainted ? withUnknownOutcome(error) : error);
        return;
      case "refresh-topic":
        batch.topicRefreshed = true;
        this.#components.finder.find(partition.topic, { fresh: true });
        break;
      case "renew-identity":
        this.#spoil(partition, { freshId: error.code === "PRODUCER_FENCED" });
        break;
    }
    const epoch = batch.basis?.identity.producerEpoch;
    batch.retried({ error, attempt: batch.attempts, epoch });
    partition.requeue(batch);
    const atOnce = blameless || verdict !== "retry";
    if (!wasRecovering) this.pause(partition, error, { atOnce });
    partition.recovering = partition.inFlight.length > 0;
  }

  #attemptOf(batch: ProducerBatch, first: boolean): Attempt {
    const { tainted, topicRefreshed } = batch;
    return { idempotent: this.#options.idempotent, tainted, topicRefreshed, first };
  }

  /**
   * A gap ahead says that an earlier batch is missing; if nothing is before this one, and the agent says so twice, then neither it nor
   * what follows it was applied, whatever became of the answers: agent and producer count differently, count anew. A gap behind says that
   * something was applied in its place.
   */
  #gap(
    partition: Partition,
    batch: ProducerBatch,
    gap: { readonly first: boolean; readonly isAhead: boolean },
  ): void {
    if (!gap.isAhead) batch.tainted = true;
    if (!gap.first || !gap.isAhead) return;
    batch.gaps++;
    if (batch.gaps < 2) return;
    for (const it of [batch, ...partition.queue]) if (it.basis === batch.basis) it.tainted = false;
    this.#spoil(partition, { freshId: false });
  }

  /** What the partition's sequences count for is of no use any more: it needs another epoch, or with `freshId` another id. */
  #spoil(partition: Partition, options: { readonly freshId: boolean }): void {
    if (partition.basis === undefined) return;
    partition.spoiled = true;
    this.#components.identity.renew(partition.basis.identity, options);
  }

  #noteMove(partition: Partition, error: StreamHouseError): void {
    const { known } = partition.topic;
    // The first answer of those on their way said that it moved: the others come from the agent that is left, and say nothing of the next.
    const isNews = partition.connection !== undefined || error.holderAddress !== undefined;
    if (known !== undefined && isNews)
      this.#components.cluster.note(known.id, partition.index, error, partition.sentTo);
    partition.connection = undefined;
  }

  /**
   * Sets when the partition may be tried again. `atOnce`: without a pause, the first time. An agent that says who holds the partition is
   * believed at once, however often the partition has failed: after a long time without a holder this is the news that it was tried
   * for. But only once between two pauses: two agents may each name the other.
   */
  pause(
    partition: Partition,
    error: StreamHouseError,
    options: { readonly atOnce: boolean },
  ): void {
    const { clock, random } = this.#components;
    const { retryBackoffMs, retryBackoffMaxMs } = this.#options;
    partition.failures++;
    const named = error.code === "NOT_LEASE_HOLDER" && error.holderAddress !== undefined;
    partition.followed = named && !partition.followed;
    const first = partition.followed || (options.atOnce && partition.failures === 1);
    // A lease on its way takes some ten milliseconds to arrive.
    const askedMs = comesHere(error) ? error.retryAfterMs : undefined;
    const longestMs = hasNoHolder(error) ? LOOKING_PAUSE_MS : retryBackoffMaxMs;
    const maxMs = Math.max(retryBackoffMs, Math.min(retryBackoffMaxMs, longestMs));
    const backoff = { baseMs: askedMs ?? retryBackoffMs, maxMs };
    const pauseMs = first ? 0 : backoffMs(backoff, partition.failures, random);
    partition.retryAt = clock.monotonic() + Math.max(pauseMs, error.retryAfterMs ?? 0);
  }

  /** The holder of the partition could not be found out. */
  locateFailed(partition: Partition, error: StreamHouseError): void {
    partition.lastError = error;
    if (error.code === "TOPIC_NOT_FOUND") {
      this.#components.finder.find(partition.topic, { fresh: true });
    } else if (!canRetry(error)) {
      this.#giveUpWaiting((it) => it === partition, error);
      return;
    }
    this.pause(partition, error, { atOnce: false });
  }

  /** The topic does not exist (any more): everything for it that is not on its way fails. */
  topicLost(topic: TopicState, error: StreamHouseError): void {
    topic.known = undefined;
    this.#components.accumulator.line.failTopic(topic, error);
    this.#giveUpWaiting((it) => it.topic === topic, error);
    this.#components.accumulator.forget(topic);
  }

  /** The topic was made anew with fewer partitions. */
  partitionLost(partition: Partition): void {
    const { known } = partition.topic;
    if (known === undefined) return;
    const error = invalid(
      "PARTITION_OUT_OF_RANGE",
      `partition ${partition.index} of topic ${known.name} is gone: the topic was made anew and has partitions 0 to ${known.partitions - 1}`,
      { field: "partition" },
    );
    this.#giveUpWaiting((it) => it === partition, error);
  }

  /** No agent gives this producer an id. */
  identityRefused(error: StreamHouseError): void {
    this.#giveUpWaiting((it) => it.spoiled || it.basis === undefined, error);
  }

  #giveUpWaiting(which: (partition: Partition) => boolean, error: StreamHouseError): void {
    for (const [batch, partition] of this.#components.accumulator.live) {
      if (batch.flying || !which(partition)) continue;
      this.giveUp(partition, batch, batch.tainted ? withUnknownOutcome(error) : error);
    }
  }

  /** Fails what has met its deadline; answers the next one. */
  expire(now: number): number {
    const { accumulator } = this.#components;
    const { deliveryTimeoutMs } = this.#options;
    let next = Number.POSITIVE_INFINITY;
    for (const [batch, partition] of accumulator.live) {
      if (batch.deadlineAt > now) {
        next = Math.min(next, batch.deadlineAt);
        continue;
      }
      const last = batch.lastError ?? partition.lastError ?? this.#components.identity.lastError;
      const outcome = batch.flying || batch.tainted ? "unknown" : "none";
      const where = `${partition.topic.name}/${partition.index}`;
      this.giveUp(partition, batch, deadlineError(where, deliveryTimeoutMs, last, outcome));
    }
    const waited = accumulator.line.expire(now, (topic) =>
      deadlineError(topic.name, deliveryTimeoutMs, topic.lastError, "none"),
    );
    return Math.min(next, waited);
  }

  /** The producer ends: nothing stays unsettled. */
  failAll(): void {
    const { accumulator } = this.#components;
    accumulator.line.failAll((topic) => closedError(topic.name, "none"));
    for (const [batch, partition] of accumulator.live) {
      const where = `${partition.topic.name}/${partition.index}`;
      const outcome = batch.flying || batch.tainted ? "unknown" : "none";
      this.giveUp(partition, batch, closedError(where, outcome));
    }
  }

  /** Tells the callers of a batch that it failed. It may still be on its way: then its answer changes nothing. */
  giveUp(partition: Partition, batch: ProducerBatch, error: StreamHouseError): void {
    const { accumulator, clock } = this.#components;
    const { topic } = partition;
    const now = clock.monotonic();
    if (partition.open === batch) partition.open = undefined;
    const at = partition.queue.indexOf(batch);
    if (at >= 0) partition.queue.splice(at, 1);
    this.#forgetSequence(partition, batch);
    if (batch.attempts > 0) {
      this.bytesGivenUp += batch.sizeBytes;
      topic.instruments.batchEnded({
        partition: partition.index,
        records: batch.recordCount,
        seconds: (now - batch.handedOverAt) / 1_000,
        span: batch.requestSpan,
        code: error.code,
      });
    }
    topic.instruments.failed(error.code, batch.unsettled);
    accumulator.settled(topic, batch.unsettled);
    batch.failed(topic, error, now);
    accumulator.release(batch);
  }

  /**
   * Its sequence is missing from now on, and agents refuse the next one: the producer must become another. Unless it
   * was certainly not applied and nothing has a later sequence: then the next batch takes it over.
   */
  #forgetSequence(partition: Partition, batch: ProducerBatch): void {
    if (batch.basis === undefined || batch.basis !== partition.basis) return;
    const last = partition.nextSequence === nextSequence(batch.baseSequence, batch.recordCount);
    if (last && !batch.tainted && !batch.flying) partition.nextSequence = batch.baseSequence;
    else this.#spoil(partition, { freshId: false });
  }
}

/** Nobody has it, as far as anybody says: asking again burdens no agent that has work to do. */
function hasNoHolder({ code, holderAddress }: StreamHouseError): boolean {
  return (
    code === "AGENT_UNREACHABLE" || (code === "NOT_LEASE_HOLDER" && holderAddress === undefined)
  );
}

/** Nothing that was sent before it is unsettled. */
function isFirst(partition: Partition, batch: ProducerBatch): boolean {
  const before = (it: ProducerBatch) => it.ordinal >= 0 && it.ordinal < batch.ordinal;
  return !partition.inFlight.some(before) && !partition.queue.some(before);
}

/** What an agent said tells more than that the last, shortened attempt was not answered in time. */
function moreTelling(
  before: StreamHouseError | undefined,
  now: StreamHouseError,
): StreamHouseError {
  return before !== undefined && now.code === "DEADLINE_EXCEEDED" ? before : now;
}
