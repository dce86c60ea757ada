/**
 * Flushes whose commit was never answered. Should the flush table show one of them later, its records were made durable by this
 * agent after all, and are counted then: the producer that sends them again is told that they are there, so without this more
 * records would be sent than written. Told by the flusher what is open, and by the log index what it reads.
 */
import type { CounterCell } from "../telemetry/cells.ts";
import type { Flush } from "./flush.ts";
import type { IndexedFlush } from "./log-index.ts";
import type { WriteLedger } from "./write-ledger.ts";

/** Open outcomes that are remembered: each one ends a run, so there are few. The oldest is forgotten first. */
const OPEN_MAX = 1_000;

export interface LateCommitComponents {
  readonly ledger: WriteLedger;
  /** Whether the index has met the flush. */
  readonly isIndexed: (runId: string, flushSequence: number) => boolean;
}

/** A partition's part, without its batches: they are not kept for this. */
interface Part {
  readonly topic: string;
  readonly recordsWritten: CounterCell;
  readonly bytesWritten: CounterCell;
  readonly records: number;
  readonly bytes: number;
}

export class LateCommits {
  readonly #parts: LateCommitComponents;
  readonly #open = new Map<string, readonly Part[]>();

  constructor(components: LateCommitComponents) {
    this.#parts = components;
  }

  /** Nobody could say whether the flush is committed. */
  expect(flush: Flush): void {
    const parts = flush.shares.map(({ partition, batches }): Part => {
      const { recordsWritten, bytesWritten } = partition.cells;
      let records = 0;
      let bytes = 0;
      for (const batch of batches) {
        records += batch.recordCount;
        bytes += batch.bytes.length;
      }
      return { topic: partition.topic, recordsWritten, bytesWritten, records, bytes };
    });
    if (this.#parts.isIndexed(flush.runId, flush.sequence)) {
      this.#count(parts, flush.chunk.entries);
      return;
    }
    this.#open.set(keyOf(flush.runId, flush.sequence), parts);
    if (this.#open.size <= OPEN_MAX) return;
    for (const [oldest] of this.#open) {
      this.#open.delete(oldest);
      break;
    }
  }

  /** The flush stands in the flush table. */
  found(flush: IndexedFlush): void {
    const key = keyOf(flush.runId, flush.flushSequence);
    const parts = this.#open.get(key);
    if (parts === undefined) return;
    this.#open.delete(key);
    this.#count(parts, flush.entries);
  }

  #count(parts: readonly Part[], entries: IndexedFlush["entries"]): void {
    for (const { recordsWritten, bytesWritten, records, bytes } of parts) {
      recordsWritten.add(records);
      bytesWritten.add(bytes);
    }
    const topics = parts.map((it) => it.topic);
    this.#parts.ledger.foundLate(topics, entries);
  }
}

function keyOf(runId: string, flushSequence: number): string {
  return `${runId} ${flushSequence}`;
}
