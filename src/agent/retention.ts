/**
 * Deletes what nobody can read any more: raises log starts by the topics' retention (append time, whole shares), forgets flushes and
 * merges that are expired or merged, and deletes their objects once nobody can still be reading them. In that order, each step its
 * own transaction, so that a crash between leaves doomed or unreferenced objects and never a reference without an object. Any agent
 * may do any step for all. Run by the agent's ticker.
 */
import { type Clock, sleep } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import type { TopicPartition } from "../core/topic.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { AgentInstruments } from "./agent-instruments.ts";
import type { CompactionInstruments } from "./compaction-instruments.ts";
import type { Holdings } from "./holdings.ts";
import type { LogIndex } from "./log-index.ts";
import type { SegmentReferences } from "./segment-references.ts";
import type { Topics } from "./topics.ts";

export interface RetentionComponents {
  readonly metadata: MetadataStore;
  readonly store: ObjectStore;
  readonly holdings: Holdings;
  readonly topics: Topics;
  readonly index: LogIndex;
  readonly segments: SegmentReferences;
  readonly instruments: AgentInstruments;
  readonly compaction: CompactionInstruments;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RetentionOptions {
  /** How long an object that nothing refers to is kept for those who read it, ms. */
  readonly deleteGraceMs: number;
}

/** Flushes looked at in one transaction, during which nothing else runs. */
const STEP = 250;
/** Steps that find nothing dead (they may have looked at others) before a round ends. */
const EMPTY_STEPS = 4;
/** Objects deleted at once: S3 takes no more in one request. */
const DELETE_STEP = 1_000;
/** Partitions whose bounds are read in one transaction. */
const BOUNDS_STEP = 1_000;

export class Retention {
  readonly #parts: RetentionComponents;
  readonly #graceMs: number;

  constructor(components: RetentionComponents, options: RetentionOptions) {
    this.#parts = components;
    this.#graceMs = options.deleteGraceMs;
  }

  /** One round. @throws StreamHouseError `METADATA_UNAVAILABLE`, `STORE_UNAVAILABLE`; the next round goes on from there */
  async run(): Promise<void> {
    const { metadata } = this.#parts;
    try {
      await this.#raiseLogStarts();
      await this.#learnLogStarts();
      await this.#forget(() => metadata.dropDeadFlushes(STEP));
      await this.#forget(() => metadata.dropDeadMerges(STEP));
      await this.#deleteAbandoned();
      await this.#deleteDoomed();
    } catch (error) {
      this.#parts.instruments.retentionErrors.add(1);
      throw error;
    }
  }

  async #raiseLogStarts(): Promise<void> {
    const { clock, holdings, metadata, topics } = this.#parts;
    const now = clock.now();
    const raised: (TopicPartition & { readonly logStartOffset: number })[] = [];
    const apply: (() => void)[] = [];
    for (const hold of holdings) {
      hold.producers.expire(now);
      const retentionMs = topics.byId(hold.topicId)?.retentionMs ?? 0;
      if (retentionMs === 0) continue;
      const { topicId, partition, log } = hold;
      const logStartOffset = log.offsetAppendedSince(now - retentionMs);
      if (logStartOffset <= log.logStart) continue;
      raised.push({ topicId, partition, logStartOffset });
      const before = log.logStart;
      apply.push(() => {
        this.#parts.instruments.retained(hold.topic, logStartOffset - before);
        log.raise({ logStartOffset, nextOffset: log.highWatermark });
        if (hold.phase === "held") hold.cells.logStart.set(log.logStart);
      });
    }
    if (raised.length === 0) return;
    await metadata.advanceLogStart(raised);
    for (const it of apply) it();
    this.#parts.logger.info("retention raised log starts", { partitions: raised.length });
  }

  /** What others raised: their shares must not stay in memory for ever because nobody reads them here. */
  async #learnLogStarts(): Promise<void> {
    const { holdings, index } = this.#parts;
    const others: TopicPartition[] = [];
    for (const { partition, size, topicId } of index.logs()) {
      if (size > 0 && holdings.get(topicId, partition) === undefined) {
        others.push({ topicId, partition });
      }
    }
    for (let i = 0; i < others.length; i += BOUNDS_STEP) {
      await index.refreshBounds(others.slice(i, i + BOUNDS_STEP));
    }
  }

  /** Asks metadata to forget what is dead, step by step, until there is no more. */
  async #forget(step: () => Promise<readonly unknown[]>): Promise<void> {
    for (let empty = 0; empty < EMPTY_STEPS; ) {
      const dead = await step();
      empty = dead.length === 0 ? empty + 1 : 0;
      // Everybody else has a turn: a database in the process answers without one.
      if (dead.length > 0) await sleep(this.#parts.clock, 0);
    }
  }

  /** Objects that this agent wrote and then could not commit: nobody reads them, but a commit may still be on its way. */
  async #deleteAbandoned(): Promise<void> {
    const { compaction, metadata, segments, store } = this.#parts;
    const keys = segments.takeAbandoned();
    if (keys.length === 0) return;
    try {
      const swept = await metadata.sweepKeys(keys);
      if (swept.length > 0) await store.delete(swept);
      compaction.deleted("abandoned", swept.length);
    } catch (error) {
      segments.giveBack(keys);
      throw error;
    }
  }

  async #deleteDoomed(): Promise<void> {
    const { compaction, logger, metadata, segments, store } = this.#parts;
    let deleted = 0;
    for (;;) {
      const doomed = await metadata.listDoomed(this.#graceMs, DELETE_STEP);
      // The file that the next chunk may go to: what is committed there brings it back to life.
      const keys = doomed.filter((key) => !segments.isInUse(key));
      if (keys.length > 0) {
        await store.delete(keys);
        await metadata.forgetDoomed(keys);
        compaction.deleted("dead", keys.length);
        deleted += keys.length;
      }
      if (keys.length === 0 || doomed.length < DELETE_STEP) break;
    }
    compaction.doomed((await metadata.listDoomed(0, DELETE_STEP)).length);
    if (deleted > 0) logger.info("retention deleted segments", { segments: deleted });
  }
}
