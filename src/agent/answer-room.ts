/**
 * How much a fetch answer still holds as a gRPC message: batches bring frames with them, and with many partitions or small batches
 * these are more than what the message limit leaves beside the batches. Called by the fetcher.
 */
import { limits } from "../core/limits.ts";
import type { FetchedBatch, PartitionData } from "../rpc/gen/streamhouse/v1/consumer.ts";
import type { ErrorDetail } from "../rpc/gen/streamhouse/v1/error.ts";

/** Tags and lengths of a batch and its bytes (5 each), and the append time (10). */
const BATCH_FRAME_BYTES = 20;
/** Tag and length of a partition's data (5), topic id (38), partition (6), both bounds (10 each), and the address (3). */
const PARTITION_FRAME_BYTES = 72;
/** An error's numbers, tags and lengths. */
const ERROR_FRAME_BYTES = 40;

export class AnswerRoom {
  #left: number = limits.messageBytesMax;
  #full = false;

  /** Room beside these, which are in the answer whatever comes; they have no batches yet. */
  constructor(partitions: readonly PartitionData[]) {
    for (const { error, holderAddress } of partitions) {
      this.#left -= PARTITION_FRAME_BYTES + 3 * holderAddress.length;
      if (error !== undefined) this.takeError(error);
    }
  }

  /** A batch found no room: later ones would come without it. */
  get full(): boolean {
    return this.#full;
  }

  /** As many of the batches as there is room for, from the first one on. */
  take(batches: FetchedBatch[]): FetchedBatch[] {
    for (const [i, { records }] of batches.entries()) {
      const size = records.length + BATCH_FRAME_BYTES;
      if (size > this.#left) {
        this.#full = true;
        return batches.slice(0, i);
      }
      this.#left -= size;
    }
    return batches;
  }

  takeError(error: ErrorDetail): void {
    const { code, kind, message, field, holderAddress } = error;
    const characters =
      code.length + kind.length + message.length + field.length + holderAddress.length;
    // At most three bytes of UTF-8 for each UTF-16 unit.
    this.#left -= ERROR_FRAME_BYTES + 3 * characters;
  }
}
