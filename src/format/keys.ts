/** Every object key of the store, built and parsed. No other room puts a key together. */

export interface SegmentKey {
  /** `yyyy-mm-dd`, UTC, of the first chunk's append time. */
  readonly day: string;
  readonly runId: string;
  /** Of the first chunk. */
  readonly flushSequence: number;
}

export interface MergedSegmentKey {
  readonly topicId: string;
  readonly partition: number;
  readonly baseOffset: number;
  /** Offset after the last record. */
  readonly endOffset: number;
  readonly ulid: string;
}

/** `<prefix>/segments/<yyyy-mm-dd>/<runId>-<flushSequence>.seg` */
export function segmentKey(
  prefix: string,
  timeMs: number,
  runId: string,
  flushSequence: number,
): string {
  throw new Error(`not yet: ${prefix} ${timeMs} ${runId} ${flushSequence}`);
}

/** Undefined if the key is not one of ours. */
export function parseSegmentKey(prefix: string, key: string): SegmentKey | undefined {
  throw new Error(`not yet: ${prefix} ${key}`);
}

/** `<prefix>/segments/`: what to list for all flush segments. */
export function segmentsPrefix(prefix: string): string {
  throw new Error(`not yet: ${prefix}`);
}

/** `<prefix>/topics/<topicId>/<partition>/<base20>-<end20>-<ulid>.seg` */
export function mergedSegmentKey(prefix: string, segment: MergedSegmentKey): string {
  throw new Error(`not yet: ${prefix} ${segment.ulid}`);
}

/** Undefined if the key is not one of ours. */
export function parseMergedSegmentKey(prefix: string, key: string): MergedSegmentKey | undefined {
  throw new Error(`not yet: ${prefix} ${key}`);
}
