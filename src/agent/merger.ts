/**
 * Background merging: the shares that flushes left all over the store become segments of one partition, so that reading a day of
 * backlog takes few requests, the index stays small, and flush objects can go. Only the holder of a partition's lease merges it;
 * metadata refuses a segment of anybody else. Order: read, check, PUT, commit. Whatever ends it before the commit leaves an orphan
 * and nothing else. Run by the agent's ticker.
 */
import { type Clock, sleep } from "../core/clock.ts";
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import { createUlid, type RandomBytes } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import { Semaphore } from "../core/semaphore.ts";
import { mergedSegmentKey } from "../format/keys.ts";
import type { MergedSegment, MergeOutcome } from "../metadata/merge-store.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { CachingStore } from "../storage/caching.ts";
import type { CompactionInstruments } from "./compaction-instruments.ts";
import type { ResolvedCompactionOptions } from "./compaction-options.ts";
import type { LogIndex } from "./log-index.ts";
import { joinPieces } from "./merge-pieces.ts";
import { type MergePlan, planMerges, sharesMaxOf } from "./merge-plan.ts";
import { isSilence, type ReadJob, readJobs, type SourceShare } from "./merge-reader.ts";
import type { Hold } from "./pending-batch.ts";

export interface MergerComponents {
  readonly metadata: Pick<MetadataStore, "commitMerge">;
  readonly store: CachingStore;
  readonly holdings: Iterable<Hold>;
  readonly index: LogIndex;
  readonly instruments: CompactionInstruments;
  readonly runId: () => string;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
}

/** A partition that could not be merged is left alone for so long, ms: damage does not go away by itself. */
const REST_MS = 600_000;

/** One with an object for which the store did not answer, ms: the others come first meanwhile. */
const SILENCE_REST_MS = 60_000;

/** Attempts at one commit while metadata does not answer, and the pause between two, ms. */
const COMMIT_TRIES = 3;
const COMMIT_PAUSE_MS = 500;

/** Segments written at once. */
const WRITES_MAX = 4;

export class Merger {
  readonly #parts: MergerComponents;
  readonly #options: ResolvedCompactionOptions;
  readonly #stop = new AbortController();
  /** Until when a hold is left alone, by the monotonic clock. */
  readonly #resting = new WeakMap<Hold, number>();
  /** Bytes that are merged before this moment have their share of the rate, by the monotonic clock. */
  #paidUntil = 0;

  constructor(components: MergerComponents, options: ResolvedCompactionOptions) {
    this.#parts = components;
    this.#options = options;
  }

  /** No round goes on: what was not committed is an orphan. */
  stop(): void {
    this.#stop.abort(new DOMException("the agent ends", "AbortError"));
  }

  /** Rounds until nothing is due. @throws StreamHouseError `STORE_UNAVAILABLE`, `METADATA_UNAVAILABLE` */
  async run(): Promise<void> {
    const { instruments } = this.#parts;
    while (!this.#stop.signal.aborted) {
      const plan = this.#plan();
      if (plan.jobs.length === 0) return;
      try {
        if (!(await this.#round(plan))) return;
      } catch (thrown) {
        if (this.#stop.signal.aborted) return;
        const error = asStreamHouseError(thrown, "merging");
        instruments.merged(error.code);
        throw error;
      }
    }
  }

  #plan(): MergePlan {
    const { clock, holdings, index, instruments } = this.#parts;
    const now = clock.now();
    const limits = {
      ...this.#options,
      mergeSharesMax: sharesMaxOf(index.census(), this.#options),
    };
    const plan = planMerges(holdings, now, limits, (hold) => this.#rests(hold));
    const oldest = Number.isFinite(plan.oldestMs) ? Math.max(0, now - plan.oldestMs) : 0;
    instruments.backlog(plan.backlogBytes, oldest / 1_000);
    return plan;
  }

  /** False: nothing came of it, so another round now would do no better. */
  async #round({ jobs }: MergePlan): Promise<boolean> {
    const { clock, index, instruments, store } = this.#parts;
    const startedAt = clock.monotonic();
    const pace = (bytes: number) => this.#pace(bytes);
    const read = await readJobs(jobs, store, pace, this.#stop.signal);
    this.#noteSilence(read);
    const writes = new Semaphore(WRITES_MAX);
    const merges = await Promise.allSettled(read.map((job) => writes.run(() => this.#merge(job))));
    const failed = merges.find((it) => it.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    const outcomes = merges.map((it) => (it.status === "fulfilled" ? it.value : undefined));
    // Somebody merged or trimmed further than this index knows, or an object is gone because of that.
    if (outcomes.some((it) => it !== "committed")) await index.refresh();
    if (!outcomes.includes("committed")) return false;
    instruments.duration.record((clock.monotonic() - startedAt) / 1_000);
    return true;
  }

  /** Writes and commits one segment. Undefined: there was nothing that could be merged. */
  async #merge({ error, job, sources }: ReadJob): Promise<MergeOutcome | undefined> {
    const { hold } = job;
    this.#stop.signal.throwIfAborted();
    const base = Math.max(hold.log.mergedUntil, hold.log.logStart);
    const first = sources[0];
    // Merged or trimmed further while the objects were read: the next round looks again.
    if (hold.phase !== "held" || (first !== undefined && first.entry.baseOffset !== base)) {
      return "stale";
    }
    if (error !== undefined && !isSilence(error)) this.#damaged(hold, error);
    if (first === undefined) return undefined;
    const segment = this.#segmentOf(hold, sources);
    await this.#put(
      segment,
      sources.map((it) => it.bytes),
    );
    const outcome = await this.#commit(segment);
    this.#parts.instruments.merged(outcome);
    if (outcome === "committed") {
      this.#parts.index.applyMerge(segment);
      const { baseOffset, endOffset, location } = segment;
      this.#parts.instruments.wrote(hold.topic, endOffset - baseOffset, location.length);
    }
    return outcome;
  }

  /** The key is nobody else's: if it is taken, an attempt of ours arrived whose answer was lost. */
  async #put({ location }: MergedSegment, parts: readonly Uint8Array[]): Promise<void> {
    const { store } = this.#parts;
    try {
      await store.put(location.key, parts, this.#stop.signal);
    } catch (error) {
      const taken = StreamHouseError.is(error) && error.code === "OBJECT_EXISTS";
      const found = taken ? await store.head(location.key, this.#stop.signal) : undefined;
      if (found?.size !== location.length) throw error;
    }
  }

  #segmentOf(hold: Hold, sources: readonly SourceShare[]): MergedSegment {
    const { clock, random } = this.#parts;
    const { partition, topicId } = hold;
    const now = clock.now();
    let position = 0;
    const shares = sources.map(({ entry }) => {
      const placed = { ...entry, position };
      position += entry.length;
      return placed;
    });
    const baseOffset = shares[0]?.baseOffset ?? 0;
    const last = shares.at(-1);
    const endOffset = last === undefined ? baseOffset : last.baseOffset + last.recordCount;
    const name = { topicId, partition, baseOffset, endOffset, ulid: createUlid(now, random) };
    const location = { key: mergedSegmentKey("", name), position: 0, length: position };
    const entries = joinPieces(shares, now);
    return { topicId, partition, baseOffset, endOffset, location, entries };
  }

  /**
   * Asked again while it is not known whether it was committed: the key says that it is the same. If nobody ever answers, the
   * segment is found in metadata later, or it is an orphan.
   */
  async #commit(segment: MergedSegment): Promise<MergeOutcome> {
    const { clock, metadata, runId, store } = this.#parts;
    let doubtful = false;
    for (let tries = 1; ; tries++) {
      try {
        const outcome = await metadata.commitMerge(runId(), segment);
        // Refused for certain, and nobody else can know the key.
        if (outcome !== "committed" && !doubtful) {
          await store.delete([segment.location.key]).catch(() => {});
        }
        return outcome;
      } catch (thrown) {
        const error = asStreamHouseError(thrown, "committing a merge");
        doubtful ||= error.outcome === "unknown";
        if (error.kind !== "unavailable" || tries === COMMIT_TRIES) throw error;
        await sleep(clock, COMMIT_PAUSE_MS, this.#stop.signal);
      }
    }
  }

  #damaged(hold: Hold, error: StreamHouseError): void {
    const { clock, instruments, logger } = this.#parts;
    instruments.merged(error.code);
    this.#resting.set(hold, clock.monotonic() + REST_MS);
    logger.error("a partition cannot be merged beyond an object; it is tried again later", {
      partition: hold.name,
      code: error.code,
      error: error.message,
    });
  }

  #noteSilence(read: readonly ReadJob[]): void {
    const { clock, instruments, logger } = this.#parts;
    const waiting = read.filter((it) => isSilence(it.error));
    const [first] = waiting;
    if (first?.error === undefined) return;
    for (const { job } of waiting) this.#resting.set(job.hold, clock.monotonic() + SILENCE_REST_MS);
    const { code, message } = first.error;
    instruments.merged(code);
    logger.warn("objects to be merged could not be read; their partitions are tried again later", {
      ...{ partitions: waiting.length, code, error: message },
    });
  }

  #rests(hold: Hold): boolean {
    const until = this.#resting.get(hold);
    return until !== undefined && until > this.#parts.clock.monotonic();
  }

  async #pace(bytes: number): Promise<void> {
    const { clock } = this.#parts;
    const now = clock.monotonic();
    const begin = Math.max(now, this.#paidUntil);
    this.#paidUntil = begin + (bytes / this.#options.mergeBytesPerSecondMax) * 1_000;
    if (begin > now) await sleep(clock, begin - now, this.#stop.signal);
    this.#stop.signal.throwIfAborted();
  }
}
