/**
 * Encodes records into one Kafka RecordBatch v2, straight into the buffer that is sent. Called by the producer's
 * accumulator, one builder for each open batch.
 */
import type { BytesLike, HeadersInput } from "../core/record.ts";
import type { Compression } from "./compression.ts";

export interface RecordBatchBuilderOptions {
  readonly compression: Compression;
  /** The batch is full at this many bytes before compression; at most `limits.batchBytesMax`. */
  readonly bytesMax: number;
  /** First size of the buffer, which grows by doubling. Default 16 KiB. */
  readonly bytesInitial?: number | undefined;
}

/** A record to encode. `timestamp` is ms since 1970, not negative. */
export interface BatchRecord {
  readonly key?: BytesLike | null | undefined;
  readonly value: BytesLike | null;
  readonly headers?: HeadersInput | undefined;
  readonly timestamp: number;
}

/** The producer's mark on a batch; all -1 for a batch without one. */
export interface ProducerStamp {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
}

/** The stamp of batches that no producer id covers (acks buffered and none). */
export const NO_PRODUCER: ProducerStamp = { producerId: -1, producerEpoch: -1, baseSequence: -1 };

export class RecordBatchBuilder {
  readonly #options: RecordBatchBuilderOptions;

  constructor(options: RecordBatchBuilderOptions) {
    this.#options = options;
  }

  get recordCount(): number {
    return 0;
  }

  /** Bytes so far before compression, header included. */
  get sizeBytes(): number {
    return this.#options.bytesMax;
  }

  /**
   * Adds a record and answers its encoded size in bytes, or undefined when the batch has no room left for it (seal this one and
   * begin another; the builder is unchanged). The first record always fits.
   * @throws StreamHouseError `RECORD_TOO_LARGE` naming the limit, `INVALID_ARGUMENT` for bad headers or timestamp
   */
  append(record: BatchRecord): number | undefined {
    throw new Error(`not yet: ${record.timestamp}`);
  }

  /**
   * Finishes the batch: base offset 0, CRC set. Without compression it answers at once with a view of the builder's own
   * buffer (nothing is copied); with compression a promise. The builder cannot be used again.
   */
  seal(stamp: ProducerStamp): Uint8Array | Promise<Uint8Array> {
    throw new Error(`not yet: ${stamp.producerId}`);
  }
}

/**
 * Rewrites the producer's mark of a sealed batch in place and its CRC with it. Not while the bytes are on
 * their way.
 */
export function restampProducer(bytes: Uint8Array, stamp: ProducerStamp): void {
  throw new Error(`not yet: ${bytes.length} ${stamp.producerId}`);
}
