/** What applications send and get. */

/** Bytes as they are, or text that is sent as UTF-8. */
export type BytesLike = Uint8Array | string;

/** Header values by name. Names may repeat on the wire: use the array form to send or see repeats, and order. */
export type HeadersInput =
  | Readonly<Record<string, BytesLike>>
  | readonly (readonly [name: string, value: BytesLike | null])[];

/** A record to send. */
export interface ProducerRecord {
  /** Same key, same partition (murmur2, as Kafka's clients). Absent or null: the producer picks a partition. */
  readonly key?: BytesLike | null | undefined;
  /** Null is a tombstone. Objects: use `house.topic(name, { schema })`, or JSON.stringify. */
  readonly value: BytesLike | null;
  readonly headers?: HeadersInput | undefined;
  /** Overrides the partitioner. */
  readonly partition?: number | undefined;
  /** Milliseconds since 1970; default: the time of `send`. */
  readonly timestamp?: number | undefined;
}

/** One header as it was on the wire. */
export type RecordHeader = readonly [name: string, value: Uint8Array | null];

/** Where a consumed record was; enough to commit, seek or name it. */
export interface RecordPosition {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

const decoder = new TextDecoder();

/**
 * A record as consumed. `key`, `value` and header values are views into the fetched batch: they stay valid as
 * long as they are referenced, and keep that batch in memory (copy with `slice()` to keep a small one for long).
 */
export class ConsumerRecord implements RecordPosition {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** The record's own timestamp (set by its producer), ms since 1970. */
  readonly timestamp: number;
  /** When the agent appended it, ms since 1970 by the agent's clock. */
  readonly appendTimestamp: number;
  /** Null if it has none, which is not the same as an empty one. */
  readonly key: Uint8Array | null;
  /** Null for a tombstone, which is not the same as an empty value. */
  readonly value: Uint8Array | null;
  /** In the order in which they were sent; a name may repeat. */
  readonly headers: readonly RecordHeader[];

  constructor(
    topic: string,
    partition: number,
    offset: number,
    timestamp: number,
    appendTimestamp: number,
    key: Uint8Array | null,
    value: Uint8Array | null,
    headers: readonly RecordHeader[],
  ) {
    this.topic = topic;
    this.partition = partition;
    this.offset = offset;
    this.timestamp = timestamp;
    this.appendTimestamp = appendTimestamp;
    this.key = key;
    this.value = value;
    this.headers = headers;
  }

  /** The value's bytes; empty for a tombstone. */
  bytes(): Uint8Array {
    return this.value ?? new Uint8Array(0);
  }

  /** The value as UTF-8 text; empty for a tombstone. */
  text(): string {
    return this.value === null ? "" : decoder.decode(this.value);
  }

  /** The value parsed as JSON; null for a tombstone. @throws SyntaxError naming the position if it is not JSON */
  json<T = unknown>(): T {
    if (this.value === null) return null as T;
    try {
      return JSON.parse(decoder.decode(this.value)) as T;
    } catch (cause) {
      throw new SyntaxError(
        `record ${this.topic}/${this.partition}@${this.offset} is not JSON: ${(cause as Error).message}`,
        { cause },
      );
    }
  }

  /** The key as UTF-8 text, or null. */
  keyText(): string | null {
    return this.key === null ? null : decoder.decode(this.key);
  }

  /** The last header of this name as text, or undefined. */
  header(name: string): string | undefined {
    for (let i = this.headers.length - 1; i >= 0; i--) {
      const header = this.headers[i];
      if (header?.[0] === name) return header[1] === null ? undefined : decoder.decode(header[1]);
    }
    return undefined;
  }
}
