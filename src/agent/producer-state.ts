/**
 * Idempotence: what each producer has written to one partition, committed and pending, and what may follow. Rules as Kafka's
 * (ProducerStateManager), with one addition: pending batches count, because several are in flight. Called by the
 * append gate (check, begin) and the flusher (packed, commit, drop).
 */
import { StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { BatchHeader } from "../format/batch-header.ts";
import {
  decodeProducerStates,
  encodeProducerStates,
  type ProducerSnapshot,
  type RememberedBatch,
} from "./producer-state-codec.ts";

/** Kafka's sequences are int32 and wrap to 0 after 2^31 - 1. */
const SEQUENCES = 2_147_483_648;

/** What to do with a batch: append it, wait for the same one that is pending, answer the first time's offset, or refuse. */
export type SequenceVerdict<B> =
  | { readonly kind: "append" }
  | { readonly kind: "pending"; readonly batch: B }
  | { readonly kind: "duplicate"; readonly baseOffset: number }
  | { readonly kind: "refused"; readonly error: StreamHouseError };

type Stamp = Pick<BatchHeader, "producerId" | "producerEpoch" | "baseSequence" | "recordCount">;

/** What this room needs to know of a pending batch (`pending-batch.ts` has the whole). */
export interface SequencedBatch extends Stamp {
  /** Final when it is committed. */
  readonly baseOffset: number;
}

interface Producer<B> {
  /** Newest committed epoch; -1 before the first commit. */
  epoch: number;
  lastWriteMs: number;
  /** Committed batches of that epoch, oldest first, at most five. */
  recent: readonly RememberedBatch[];
  /** In order of arrival; perhaps of several epochs. */
  pending: B[];
}

const APPEND = { kind: "append" } as const;

export class ProducerStates<B extends SequencedBatch> {
  readonly #partition: string;
  readonly #producers = new Map<number, Producer<B>>();

  /**
   * `partition` names it in messages.
   * @throws StreamHouseError `CORRUPT_SEGMENT` if the packed state is damaged
   */
  constructor(partition: string, packed: Uint8Array | null = null) {
    this.#partition = partition;
    if (packed === null) return;
    for (const it of decodeProducerStates(packed)) {
      this.#producers.set(it.producerId, {
        epoch: it.producerEpoch,
        lastWriteMs: it.lastWriteMs,
        recent: it.recent,
        pending: [],
      });
    }
  }

  /** Producers known. */
  get size(): number {
    return this.#producers.size;
  }

  /** Judges a batch that has a producer id; changes nothing. */
  check(batch: Stamp): SequenceVerdict<B> {
    const producer = this.#producers.get(batch.producerId);
    if (producer === undefined) {
      return batch.baseSequence === 0 ? this.#admitNew() : this.#unknown(batch);
    }
    const newest = producer.pending.at(-1);
    const epoch = newest?.producerEpoch ?? producer.epoch;
    if (batch.producerEpoch < epoch) return this.#fenced(batch, epoch);
    const expected =
      batch.producerEpoch > epoch ? 0 : nextSequence(newest ?? producer.recent.at(-1));
    if (batch.baseSequence === expected) return APPEND;
    return this.#repeated(producer, batch) ?? this.#gap(batch, expected);
  }

  /** Takes an accepted batch (verdict `append`) into the pending ones. */
  begin(batch: B): void {
    let producer = this.#producers.get(batch.producerId);
    if (producer === undefined) {
      producer = { epoch: -1, lastWriteMs: 0, recent: [], pending: [] };
      this.#producers.set(batch.producerId, producer);
    }
    producer.pending.push(batch);
  }

  /** The packed state as it will be when these batches (the oldest pending ones of their producers) are committed. */
  packedWith(batches: readonly B[], nowMs: number): Uint8Array {
    const changed = new Map<number, ProducerSnapshot>();
    for (const batch of batches) {
      if (batch.producerId < 0) continue;
      const before = changed.get(batch.producerId) ?? this.#snapshot(batch.producerId);
      changed.set(batch.producerId, withBatch(before, batch, nowMs));
    }
    const all: ProducerSnapshot[] = [...changed.values()];
    for (const producerId of this.#producers.keys()) {
      const known = changed.has(producerId) ? undefined : this.#snapshot(producerId);
      if (known !== undefined) all.push(known);
    }
    return encodeProducerStates(all.slice(0, limits.producersPerPartitionMax));
  }

  /** The batch was committed with the offset it carries. */
  commit(batch: B, nowMs: number): void {
    const producer = this.#producers.get(batch.producerId);
    if (producer === undefined) return;
    producer.pending = producer.pending.filter((it) => it !== batch);
    const after = withBatch(this.#snapshot(batch.producerId), batch, nowMs);
    producer.epoch = after.producerEpoch;
    producer.lastWriteMs = nowMs;
    producer.recent = after.recent;
  }

  /**
   * The batch failed: rolls back to before it. Answers the later pending batches of its producer and epoch,
   * which can never follow now and are rolled back as well: the caller fails them.
   */
  drop(batch: B): readonly B[] {
    const producer = this.#producers.get(batch.producerId);
    const at = producer?.pending.indexOf(batch) ?? -1;
    if (producer === undefined || at < 0) return [];
    const orphans = producer.pending
      .slice(at + 1)
      .filter((it) => it.producerEpoch === batch.producerEpoch);
    producer.pending = producer.pending.filter((it) => it !== batch && !orphans.includes(it));
    this.#forgetIfEmpty(batch.producerId, producer);
    return orphans;
  }

  /** Forgets producers that have not written for `limits.producerIdExpiryMs`. */
  expire(nowMs: number): void {
    for (const [id, producer] of this.#producers) {
      const idle = producer.pending.length === 0;
      if (idle && producer.lastWriteMs < nowMs - limits.producerIdExpiryMs) {
        this.#producers.delete(id);
      }
    }
  }

  /** A new producer: makes room by forgetting the longest unused one. */
  #admitNew(): SequenceVerdict<B> {
    if (this.#producers.size < limits.producersPerPartitionMax) return APPEND;
    let oldest: { readonly id: number; readonly at: number } | undefined;
    for (const [id, producer] of this.#producers) {
      if (producer.pending.length > 0) continue;
      if (oldest === undefined || producer.lastWriteMs < oldest.at) {
        oldest = { id, at: producer.lastWriteMs };
      }
    }
    if (oldest !== undefined) {
      this.#producers.delete(oldest.id);
      return APPEND;
    }
    return refuse({
      code: "OVERLOADED",
      kind: "unavailable",
      retryAfterMs: 100,
      message:
        `${limits.producersPerPartitionMax} producers have unanswered batches for ` +
        `${this.#partition}: try again when some of them are answered`,
    });
  }

  #repeated(producer: Producer<B>, batch: Stamp): SequenceVerdict<B> | undefined {
    for (const it of producer.pending) {
      if (it.producerEpoch === batch.producerEpoch && sameSequences(it, batch)) {
        return { kind: "pending", batch: it };
      }
    }
    if (batch.producerEpoch !== producer.epoch) return undefined;
    const known = producer.recent.find((it) => sameSequences(it, batch));
    return known && { kind: "duplicate", baseOffset: known.baseOffset };
  }

  #gap(batch: Stamp, expected: number): SequenceVerdict<B> {
    // Sequences wrap: "behind" is the nearer half of the circle.
    const behind = (expected - batch.baseSequence + SEQUENCES) % SEQUENCES <= SEQUENCES / 2;
    return refuse({
      code: "SEQUENCE_GAP",
      kind: "unavailable",
      retriable: !behind,
      message:
        `producer ${batch.producerId} epoch ${batch.producerEpoch} sent sequence ${batch.baseSequence} to ` +
        `${this.#partition}, expected ${expected}: ` +
        (behind
          ? "that sequence was written long ago and its offset is no longer remembered"
          : "the batches between must come first; send this one again after them"),
    });
  }

  #unknown(batch: Stamp): SequenceVerdict<B> {
    return refuse({
      code: "UNKNOWN_PRODUCER",
      kind: "unavailable",
      message:
        `producer ${batch.producerId} sent sequence ${batch.baseSequence} to ${this.#partition}, where nothing of it is ` +
        "known: send its earlier batches first; if they were acknowledged, its state has expired: " +
        "take a new epoch from InitProducer and begin at sequence 0",
    });
  }

  #fenced(batch: Stamp, epoch: number): SequenceVerdict<B> {
    return refuse({
      code: "PRODUCER_FENCED",
      kind: "fenced",
      message:
        `producer ${batch.producerId} epoch ${batch.producerEpoch} was replaced by epoch ${epoch} in ` +
        `${this.#partition}: this instance must stop, or ask InitProducer for a new id`,
    });
  }

  /** The committed state of a producer; undefined if nothing of it is committed. */
  #snapshot(producerId: number): ProducerSnapshot | undefined {
    const producer = this.#producers.get(producerId);
    if (producer === undefined || producer.recent.length === 0) return undefined;
    const { epoch, lastWriteMs, recent } = producer;
    return { producerId, producerEpoch: epoch, lastWriteMs, recent };
  }

  #forgetIfEmpty(id: number, producer: Producer<B>): void {
    if (producer.pending.length === 0 && producer.recent.length === 0) this.#producers.delete(id);
  }
}

function withBatch(
  before: ProducerSnapshot | undefined,
  batch: SequencedBatch,
  nowMs: number,
): ProducerSnapshot {
  const { producerId, producerEpoch, baseSequence, recordCount, baseOffset } = batch;
  const kept = before?.producerEpoch === producerEpoch ? before.recent : [];
  const recent = [...kept, { baseSequence, recordCount, baseOffset }];
  return {
    producerId,
    producerEpoch,
    lastWriteMs: nowMs,
    recent: recent.slice(-limits.sequencesRememberedPerProducer),
  };
}

function nextSequence(last: Pick<Stamp, "baseSequence" | "recordCount"> | undefined): number {
  return last === undefined ? 0 : (last.baseSequence + last.recordCount) % SEQUENCES;
}

function sameSequences(
  a: Pick<Stamp, "baseSequence" | "recordCount">,
  b: Pick<Stamp, "baseSequence" | "recordCount">,
): boolean {
  return a.baseSequence === b.baseSequence && a.recordCount === b.recordCount;
}

function refuse(init: ConstructorParameters<typeof StreamHouseError>[0]): {
  readonly kind: "refused";
  readonly error: StreamHouseError;
} {
  return { kind: "refused", error: new StreamHouseError(init) };
}
