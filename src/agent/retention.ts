/**
 * Deletes what is older than its topic's retention, by append time and in whole shares: raises log starts, forgets flushes
 * that nobody can read any more, deletes objects that nothing refers to. In that order, so that a crash between leaves
 * unreferenced bytes and never a reference without bytes. Run by the agent's ticker.
 */
import { type Clock, sleep } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import type { TopicPartition } from "../core/topic.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { AgentInstruments } from "./agent-instruments.ts";
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
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Flushes looked at in one transaction, during which nothing else runs. */
const STEP = 250;
/** Steps that find nothing dead (they may have looked at others) before a round ends. */
const EMPTY_STEPS = 4;

export class Retention {
  readonly #parts: RetentionComponents;

  constructor(components: RetentionComponents) {
    this.#parts = components;
  }

  /** One round. @throws StreamHouseError `METADATA_UNAVAILABLE`, `STORE_UNAVAILABLE`; the next round goes on from there */
  async run(): Promise<void> {
    try {
      await this.#raiseLogStarts();
      await this.#forgetFlushes();
      await this.#deleteObjects();
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

  async #forgetFlushes(): Promise<void> {
    const { clock, index, metadata } = this.#parts;
    for (let empty = 0; empty < EMPTY_STEPS; ) {
      const dead = await metadata.dropDeadFlushes(STEP);
      for (const flush of dead) index.forget(flush);
      empty = dead.length === 0 ? empty + 1 : 0;
      // Everybody else has a turn: a database in the process answers without one.
      if (dead.length > 0) await sleep(clock, 0);
    }
  }

  async #deleteObjects(): Promise<void> {
    const { segments, store } = this.#parts;
    const keys = segments.takeUnneeded();
    if (keys.length === 0) return;
    try {
      await store.delete(keys);
    } catch (error) {
      segments.giveBack(keys);
      throw error;
    }
    this.#parts.logger.info("retention deleted segments", { segments: keys.length });
  }
}
