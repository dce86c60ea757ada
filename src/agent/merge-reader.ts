/**
 * Reads what a round of merging takes, each flush object once for all partitions in it, and checks it: nothing damaged is copied
 * into a segment that outlives the original. Through the cache that fetches use too, so that an object that is being read for either is not asked
 * for twice. Called by the merger.
 */
import { StreamHouseError } from "../core/errors.ts";
import { checkBatchCrc } from "../format/batch-check.ts";
import { splitBatches } from "../format/batch-header.ts";
import type { ChunkIndexEntry, ChunkLocation } from "../format/chunk.ts";
import type { CachingStore } from "../storage/caching.ts";
import type { MergeJob } from "./merge-plan.ts";
import type { Share } from "./partition-log.ts";

/** A share as it goes into a segment: its batches, and what the segment's index says of them but for the position there. */
export interface SourceShare {
  readonly bytes: Uint8Array;
  readonly entry: Omit<ChunkIndexEntry, "position">;
}

/** A job whose shares were read, or why none or not all of them could be. */
export interface ReadJob {
  readonly job: MergeJob;
  /** From the first share on, without a gap. */
  readonly sources: readonly SourceShare[];
  readonly error: StreamHouseError | undefined;
}

/** Called before each object is read, with the bytes that are wanted of it. */
export type Pace = (bytes: number) => Promise<void>;

/** Up to this length an object is read whole, whatever part of it is wanted. */
const WHOLE_BYTES = 1_048_576;

/** Bytes of others between two shares that are read along rather than asked for apart. */
const GAP_BYTES_MAX = 65_536;

/** Objects read at once, and the bytes that they may have together (one may have more). */
const READS_MAX = 8;
const READ_BYTES_MAX = 16_777_216;

interface Wanted {
  readonly within: ChunkLocation;
  readonly parts: { readonly job: number; readonly at: number; readonly share: Share }[];
}

/**
 * What cannot be read of one object is the error of the jobs with a share in it. If that is because the store does not answer, nothing
 * more is asked of it: the jobs have what was read until then. @throws StreamHouseError `ABORTED`
 */
export async function readJobs(
  jobs: readonly MergeJob[],
  store: CachingStore,
  pace: Pace,
  signal: AbortSignal,
): Promise<ReadJob[]> {
  const found = jobs.map(({ shares }) => new Array<SourceShare | StreamHouseError>(shares.length));
  let silent = false;
  for (const step of stepsOf(objectsOf(jobs))) {
    if (silent) break;
    await pace(step.reduce((sum, it) => sum + wantedBytes(it), 0));
    await Promise.all(
      step.map(async (object) => {
        const shares = await readObject(object, store, signal);
        object.parts.forEach(({ job, at, share }, i) => {
          const bytes = shares[i] as Uint8Array | StreamHouseError;
          const { hold } = jobs[job] as MergeJob;
          silent ||= isSilence(bytes);
          (found[job] as (SourceShare | StreamHouseError)[])[at] = sourceOf(hold.epoch, {
            ...{ topicId: hold.topicId, partition: hold.partition },
            ...{ share, bytes },
          });
        });
      }),
    );
  }
  return jobs.map((job, i) => upToDamage(job, found[i] ?? []));
}

function objectsOf(jobs: readonly MergeJob[]): Wanted[] {
  const objects = new Map<string, Wanted>();
  for (const [job, { shares }] of jobs.entries()) {
    for (const [at, share] of shares.entries()) {
      const { key, position } = share.within;
      const name = `${key}@${position}`;
      const known = objects.get(name);
      if (known === undefined) {
        objects.set(name, { within: share.within, parts: [{ job, at, share }] });
      } else known.parts.push({ job, at, share });
    }
  }
  for (const { parts } of objects.values()) {
    parts.sort((a, b) => a.share.position - b.share.position);
  }
  return [...objects.values()];
}

function* stepsOf(objects: readonly Wanted[]): Generator<readonly Wanted[], void, undefined> {
  let step: Wanted[] = [];
  let bytes = 0;
  for (const object of objects) {
    const full = step.length === READS_MAX || bytes + object.within.length > READ_BYTES_MAX;
    if (step.length > 0 && full) {
      yield step;
      step = [];
      bytes = 0;
    }
    step.push(object);
    bytes += object.within.length;
  }
  if (step.length > 0) yield step;
}

function wantedBytes({ parts }: Wanted): number {
  return parts.reduce((sum, it) => sum + it.share.length, 0);
}

/** The shares' bytes in the order of the parts, copied out of what was read; or what is wrong with the object. */
async function readObject(
  object: Wanted,
  store: CachingStore,
  signal: AbortSignal,
): Promise<(Uint8Array | StreamHouseError)[]> {
  const { parts, within } = object;
  const isWhole = within.length <= WHOLE_BYTES || within.length <= 2 * wantedBytes(object);
  const found: (Uint8Array | StreamHouseError)[] = [];
  for (const run of isWhole ? [parts] : runsOf(parts)) {
    const start = isWhole ? within.position : (run[0]?.share.position ?? within.position);
    const last = run.at(-1)?.share;
    const end = isWhole || !last ? within.position + within.length : last.position + last.length;
    try {
      const range = { start, length: end - start };
      const bytes = await store.read(within, range, isWhole ? "more" : "this", signal);
      for (const { share } of run) {
        const from = share.position - start;
        found.push(bytes.slice(from, from + share.length));
      }
    } catch (error) {
      if (!isOfObject(error)) throw error;
      for (const _ of run) found.push(error);
    }
  }
  return found;
}

/**
 * A missing, damaged or unreadable object is the matter of the partitions in it: the others must not wait for it. All else ends the
 * round.
 */
function isOfObject(error: unknown): error is StreamHouseError {
  if (!StreamHouseError.is(error)) return false;
  return error.code === "OBJECT_NOT_FOUND" || error.kind === "corrupt" || isSilence(error);
}

/** Not an answer about the object: the store did not answer, and may the next time. */
export function isSilence(error: unknown): boolean {
  return StreamHouseError.is(error) && error.kind === "unavailable" && !isMissing(error);
}

function isMissing(error: StreamHouseError): boolean {
  return error.code === "OBJECT_NOT_FOUND";
}

/** Parts that one read can bring. */
function runsOf(parts: Wanted["parts"]): Wanted["parts"][] {
  const runs: Wanted["parts"][] = [];
  let end = Number.NEGATIVE_INFINITY;
  for (const part of parts) {
    const { length, position } = part.share;
    if (position - end <= GAP_BYTES_MAX) runs.at(-1)?.push(part);
    else runs.push([part]);
    end = position + length;
  }
  return runs;
}

function sourceOf(
  epoch: number,
  it: {
    readonly topicId: string;
    readonly partition: number;
    readonly share: Share;
    readonly bytes: Uint8Array | StreamHouseError;
  },
): SourceShare | StreamHouseError {
  const { bytes, partition, share, topicId } = it;
  if (!(bytes instanceof Uint8Array)) return bytes;
  try {
    const times = checkShare(share, bytes);
    const recordCount = share.endOffset - share.baseOffset;
    const { appendTimeMs, baseOffset, length } = share;
    const entry = { topicId, partition, epoch, length, baseOffset, recordCount, appendTimeMs };
    return { bytes, entry: { ...entry, ...times } };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return damaged(share, why, cause);
  }
}

/** Lengths, offsets and checksums of the share's batches must be what the index says. Answers the range of their timestamps. */
function checkShare(
  share: Share,
  bytes: Uint8Array,
): { readonly minTimestamp: number; readonly maxTimestamp: number } {
  if (bytes.length !== share.length) throw damaged(share, `${bytes.length} bytes are there`);
  let next = share.baseOffset;
  let minTimestamp = Number.POSITIVE_INFINITY;
  let maxTimestamp = Number.NEGATIVE_INFINITY;
  for (const batch of splitBatches(bytes)) {
    const { header } = batch;
    if (header.baseOffset !== next) {
      throw damaged(share, `a batch begins with offset ${header.baseOffset}, expected ${next}`);
    }
    checkBatchCrc(batch.bytes, header);
    next += header.recordCount;
    minTimestamp = Math.min(minTimestamp, header.baseTimestamp);
    maxTimestamp = Math.max(maxTimestamp, header.maxTimestamp);
  }
  if (next !== share.endOffset) throw damaged(share, `its batches end at offset ${next}`);
  return { minTimestamp, maxTimestamp };
}

function upToDamage(
  job: MergeJob,
  found: readonly (SourceShare | StreamHouseError | undefined)[],
): ReadJob {
  const sources: SourceShare[] = [];
  for (const it of found) {
    if (it === undefined || "code" in it) return { job, sources, error: it };
    sources.push(it);
  }
  return { job, sources, error: undefined };
}

function damaged(share: Share, why: string, cause?: unknown): StreamHouseError {
  if (StreamHouseError.is(cause) && cause.code === "CORRUPT_SEGMENT") return cause;
  return new StreamHouseError({
    code: "CORRUPT_SEGMENT",
    kind: "corrupt",
    message:
      `${share.key} at byte ${share.position}, offsets ${share.baseOffset} to ${share.endOffset}: ${why}: ` +
      "the object is damaged and stays as it is; restore it, or let retention take it",
    cause,
  });
}
