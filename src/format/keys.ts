/**
 * Every object key of the store, built and parsed. No other room puts a key together.
 *
 * | what | key |
 * |---|---|
 * | flush segment | `<prefix>/segments/<yyyy-mm-dd>/<runId>-<flushSequence12>.seg` |
 * | the same, begun a second time because the first write was slow | `<prefix>/segments/<yyyy-mm-dd>/<runId>-<flushSequence12>-2.seg` |
 * | merged segment | `<prefix>/topics/<topicId>/<partition>/<base20>-<end20>-<ulid>.seg` |
 *
 * Numbers with a width are padded with zeros, so that listing is in their order. Days are UTC. An
 * empty prefix leaves out the first slash.
 */
import { invalid } from "../core/errors.ts";

export interface SegmentKey {
  /** `yyyy-mm-dd`, UTC, of the first chunk's append time. */
  readonly day: string;
  readonly runId: string;
  /** Of the first chunk. */
  readonly flushSequence: number;
  /** 2 and more: a further write of the same chunk. Default 1. */
  readonly attempt?: number | undefined;
}

export interface MergedSegmentKey {
  readonly topicId: string;
  readonly partition: number;
  readonly baseOffset: number;
  /** Offset after the last record. */
  readonly endOffset: number;
  readonly ulid: string;
}

const NAME = /^[A-Za-z0-9_-]{1,128}$/;
const SEGMENT = /^(\d{4}-\d{2}-\d{2})\/([A-Za-z0-9_-]{1,128})-(\d{12,16})(?:-([2-9]))?\.seg$/;
const MERGED = /^([0-9a-f-]{36})\/(\d{1,9})\/(\d{20})-(\d{20})-([0-9A-Z]{26})\.seg$/;

/**
 * Key of the segment whose first chunk is flush `flushSequence` of the run. `attempt`: 1 to 9.
 * @throws StreamHouseError `INVALID_ARGUMENT` if the run id holds anything but letters, digits, `-`
 * and `_`
 */
export function segmentKey(
  prefix: string,
  timeMs: number,
  runId: string,
  flushSequence: number,
  attempt = 1,
): string {
  if (!NAME.test(runId)) {
    throw invalid(
      "INVALID_ARGUMENT",
      `run id ${JSON.stringify(runId.slice(0, 60))} cannot be part of a key: use letters, digits, - and _`,
    );
  }
  const day = new Date(timeMs).toISOString().slice(0, 10);
  const again = attempt === 1 ? "" : `-${attempt}`;
  return `${segmentsPrefix(prefix)}${day}/${runId}-${padded(flushSequence, 12)}${again}.seg`;
}

/** The inverse of `segmentKey`; undefined if the key is not one of ours. */
export function parseSegmentKey(prefix: string, key: string): SegmentKey | undefined {
  const match = matchUnder(segmentsPrefix(prefix), key, SEGMENT);
  const [, day, runId, sequence, attempt] = match ?? [];
  if (day === undefined || runId === undefined || sequence === undefined) return undefined;
  const flushSequence = Number(sequence);
  if (!Number.isSafeInteger(flushSequence)) return undefined;
  const again = attempt === undefined ? {} : { attempt: Number(attempt) };
  return { day, runId, flushSequence, ...again };
}

/** `<prefix>/segments/`: what to list for all flush segments. */
export function segmentsPrefix(prefix: string): string {
  return `${rooted(prefix)}segments/`;
}

/** Key of a segment that holds one partition's offsets from base to end. */
export function mergedSegmentKey(prefix: string, segment: MergedSegmentKey): string {
  const { topicId, partition, baseOffset, endOffset, ulid } = segment;
  const range = `${padded(baseOffset, 20)}-${padded(endOffset, 20)}`;
  return `${mergedSegmentsPrefix(prefix)}${topicId}/${partition}/${range}-${ulid}.seg`;
}

/** The inverse of `mergedSegmentKey`; undefined if the key is not one of ours. */
export function parseMergedSegmentKey(prefix: string, key: string): MergedSegmentKey | undefined {
  const match = matchUnder(mergedSegmentsPrefix(prefix), key, MERGED);
  const [, topicId, partition, base, end, ulid] = match ?? [];
  if (topicId === undefined || ulid === undefined) return undefined;
  const [baseOffset, endOffset] = [Number(base), Number(end)];
  if (!Number.isSafeInteger(baseOffset) || !Number.isSafeInteger(endOffset)) return undefined;
  return { topicId, partition: Number(partition), baseOffset, endOffset, ulid };
}

/** `<prefix>/topics/`: what to list for all merged segments. */
export function mergedSegmentsPrefix(prefix: string): string {
  return `${rooted(prefix)}topics/`;
}

function rooted(prefix: string): string {
  return prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;
}

function padded(value: number, width: number): string {
  return String(value).padStart(width, "0");
}

function matchUnder(prefix: string, key: string, shape: RegExp): RegExpExecArray | null {
  return key.startsWith(prefix) ? shape.exec(key.slice(prefix.length)) : null;
}
