/**
 * Finds objects that nothing refers to, left by agents that ended between a PUT and its commit, and deletes them. A key is given up in
 * metadata first, which from then on refuses a commit with it, so nothing that is committed is ever deleted. One agent does it for all:
 * the live run that started first. Listing goes at a bounded pace. Run by the agent's ticker.
 */
import { type Clock, sleep } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import {
  mergedSegmentsPrefix,
  parseMergedSegmentKey,
  parseSegmentKey,
  segmentsPrefix,
} from "../format/keys.ts";
import type { AgentRun, MetadataStore } from "../metadata/metadata-store.ts";
import type { ObjectInfo, ObjectStore } from "../storage/object-store.ts";
import type { CompactionInstruments } from "./compaction-instruments.ts";
import type { LogIndex } from "./log-index.ts";
import type { SegmentReferences } from "./segment-references.ts";

export interface SweeperComponents {
  readonly metadata: Pick<MetadataStore, "listRuns" | "sweepKeys" | "forgetSwept">;
  readonly store: ObjectStore;
  readonly index: LogIndex;
  readonly segments: SegmentReferences;
  readonly instruments: CompactionInstruments;
  readonly runId: () => string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface SweeperOptions {
  /** Younger objects may be on their way to a commit. */
  readonly orphanAgeMs: number;
}

/** Objects listed between two pauses (one answer of S3), and the pause, ms. */
const LIST_STEP = 1_000;
const LIST_PAUSE_MS = 200;

/** Keys given up in one transaction: no commit can go on meanwhile. */
const SWEEP_STEP = 200;

/** A swept key is remembered at least so long: no writer waits longer for its commit, ms. */
const REMEMBER_MS_MIN = 3_600_000;

export class Sweeper {
  readonly #parts: SweeperComponents;
  readonly #orphanAgeMs: number;
  readonly #stop = new AbortController();

  constructor(components: SweeperComponents, options: SweeperOptions) {
    this.#parts = components;
    this.#orphanAgeMs = options.orphanAgeMs;
  }

  /** The listing under way ends; what was given up and not deleted is found by the next round. */
  stop(): void {
    this.#stop.abort(new DOMException("the agent ends", "AbortError"));
  }

  /** One round through the store. @throws StreamHouseError `METADATA_UNAVAILABLE`, `STORE_UNAVAILABLE` */
  async run(): Promise<void> {
    const { instruments, logger, metadata, runId } = this.#parts;
    if (this.#stop.signal.aborted) return;
    try {
      if (firstRun(await metadata.listRuns()) !== runId()) return;
      let orphans = 0;
      for (const prefix of [segmentsPrefix(""), mergedSegmentsPrefix("")]) {
        orphans += await this.#sweep(prefix);
      }
      await metadata.forgetSwept(Math.max(REMEMBER_MS_MIN, this.#orphanAgeMs));
      if (orphans > 0) logger.info("orphans were deleted", { objects: orphans });
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      instruments.sweepErrors.add(1);
      throw error;
    }
  }

  async #sweep(prefix: string): Promise<number> {
    const { clock, index, instruments, segments, store } = this.#parts;
    const oldest = clock.now() - this.#orphanAgeMs;
    await index.refresh();
    const known = keysOf(index);
    let candidates: string[] = [];
    let [listed, orphans] = [0, 0];
    for await (const object of store.list(prefix, undefined, this.#stop.signal)) {
      listed++;
      instruments.sweepObjects.add(1);
      const { key } = object;
      if (isOld(object, oldest) && !known.has(key) && !segments.isInUse(key)) candidates.push(key);
      if (candidates.length === SWEEP_STEP) {
        orphans += await this.#delete(candidates);
        candidates = [];
      }
      if (listed % LIST_STEP === 0) await sleep(clock, LIST_PAUSE_MS, this.#stop.signal);
    }
    return orphans + (await this.#delete(candidates));
  }

  async #delete(candidates: readonly string[]): Promise<number> {
    const { instruments, metadata, store } = this.#parts;
    if (candidates.length === 0) return 0;
    const swept = await metadata.sweepKeys(candidates);
    if (swept.length === 0) return 0;
    await store.delete(swept);
    instruments.deleted("orphan", swept.length);
    return swept.length;
  }
}

/** Names that are not ours are somebody else's objects. */
function isOld({ key, modifiedAtMs }: ObjectInfo, oldestMs: number): boolean {
  if (modifiedAtMs >= oldestMs) return false;
  return parseSegmentKey("", key) !== undefined || parseMergedSegmentKey("", key) !== undefined;
}

/** Of the runs that are live by the store's clock: every agent finds the same one. */
function firstRun(runs: readonly AgentRun[]): string | undefined {
  const live = runs.filter((it) => it.isLive);
  live.sort((a, b) => a.startedAtMs - b.startedAtMs || (a.runId < b.runId ? -1 : 1));
  return live[0]?.runId;
}

/** Objects that the index refers to: nothing need be asked about them. */
function keysOf(index: LogIndex): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const log of index.logs()) for (const key of log.objects()) keys.add(key);
  return keys;
}
