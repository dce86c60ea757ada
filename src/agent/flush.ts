/**
 * One flush: batches of many partitions with provisional offsets, as one chunk. Sealing stamps the batches; undoing
 * takes the offsets back. Owned by the flusher.
 */
import type { SpanContext } from "@opentelemetry/api";
import type { Timer } from "../core/clock.ts";
import { stampBatch } from "../format/batch-header.ts";
import {
  type ChunkLocation,
  type ChunkShare,
  type EncodedChunk,
  encodeChunk,
} from "../format/chunk.ts";
import type { FlushCommit } from "../metadata/metadata-store.ts";
import type { AgentInstruments } from "./agent-instruments.ts";
import type { CommitRetried, CommitVerdict } from "./flush-committer.ts";
import type { Hold, PendingBatch } from "./pending-batch.ts";

/** `undone`: its batches went back to the buffer or failed; whatever its write answers is of no interest. */
export type FlushState = "writing" | "written" | "committing" | "undone" | "done";

/** A partition's part of a flush. */
export interface FlushShare {
  readonly partition: Hold;
  readonly baseOffset: number;
  readonly batches: readonly PendingBatch[];
}

/** The trace of one flush (`flush-tracer.ts` makes it). */
export interface FlushSpan {
  /** For exemplars; undefined where nothing is traced. */
  readonly context?: SpanContext | undefined;
  /** Runs the write as a span of its own. */
  put<T>(work: () => Promise<T>): Promise<T>;
  /** Runs the metadata commit as a span of its own; `work` tells of each attempt that is not the last. */
  commit(work: (retried: CommitRetried) => Promise<CommitVerdict>): Promise<CommitVerdict>;
  /** The agent itself keeps the flush back: these leases are gone, or may be. */
  lost(partitions: readonly Hold[]): void;
  /** What became of it: `committed`, `refused`, `undone` … Only the first call counts. */
  end(outcome: string): void;
}

export interface SealInput {
  readonly span: FlushSpan;
  readonly runId: string;
  readonly sequence: number;
  readonly batches: readonly PendingBatch[];
  /** Ms since 1970. */
  readonly appendTimeMs: number;
  /** By the monotonic clock, ms. */
  readonly sealedAt: number;
}

export class Flush {
  readonly runId: string;
  readonly sequence: number;
  /** In order of arrival. */
  readonly batches: readonly PendingBatch[];
  /** Sorted by (topic id, partition). */
  readonly shares: readonly FlushShare[];
  readonly chunk: EncodedChunk;
  readonly sealedAt: number;
  readonly appendTimeMs: number;
  readonly span: FlushSpan;
  readonly abort: AbortController = new AbortController();
  state: FlushState = "writing";
  location: ChunkLocation | undefined = undefined;
  timeLimit: Timer | undefined = undefined;
  #ended = false;

  constructor(input: SealInput, shares: readonly FlushShare[], chunk: EncodedChunk) {
    this.runId = input.runId;
    this.span = input.span;
    this.sequence = input.sequence;
    this.batches = input.batches;
    this.shares = shares;
    this.chunk = chunk;
    this.sealedAt = input.sealedAt;
    this.appendTimeMs = input.appendTimeMs;
  }

  /** Takes the provisional offsets back. Flushes are undone latest first. */
  undo(): void {
    this.state = "undone";
    this.timeLimit?.cancel();
    for (const share of this.shares) share.partition.nextOffset = share.baseOffset;
    for (const batch of this.batches) batch.state = "buffered";
    this.abort.abort();
  }

  /** Says on its span that leases which it needs are gone: nothing of it is asked to be committed. */
  tellLost(lost: ReadonlySet<Hold>): void {
    this.span.lost(this.shares.map((it) => it.partition).filter((it) => lost.has(it)));
  }

  /** Measures its end (by the monotonic clock): its own first, `undone` only if it has none. */
  end(outcome: string, now: number, instruments: Pick<AgentInstruments, "flushEnded">): void {
    if (this.#ended) return;
    this.#ended = true;
    instruments.flushEnded(outcome, (now - this.sealedAt) / 1_000, this);
    this.span.end(outcome);
  }

  /** What metadata is asked to commit. Only once it is written. */
  toCommit(location: ChunkLocation): FlushCommit {
    const producerStates: FlushCommit["producerStates"][number][] = [];
    for (const { partition, batches } of this.shares) {
      if (batches.every((it) => it.producerId < 0)) continue;
      producerStates.push({
        topicId: partition.topicId,
        partition: partition.partition,
        state: partition.producers.packedWith(batches, this.appendTimeMs),
      });
    }
    return {
      runId: this.runId,
      flushSequence: this.sequence,
      location,
      entries: this.chunk.entries,
      producerStates,
    };
  }
}

/** Assigns provisional offsets to the batches and lays them out as one chunk. */
export function sealFlush(input: SealInput): Flush {
  const byPartition = new Map<Hold, PendingBatch[]>();
  for (const batch of input.batches) {
    const batches = byPartition.get(batch.partition);
    if (batches === undefined) byPartition.set(batch.partition, [batch]);
    else batches.push(batch);
  }
  const shares = [...byPartition]
    .sort(([a], [b]) => compare(a, b))
    .map(([partition, batches]) => {
      const baseOffset = partition.nextOffset;
      for (const batch of batches) stamp(batch, input);
      return { partition, baseOffset, batches };
    });
  const chunk = encodeChunk({
    runId: input.runId,
    flushSequence: input.sequence,
    appendTimeMs: input.appendTimeMs,
    shares: shares.map(toChunkShare),
  });
  return new Flush(input, shares, chunk);
}

function stamp(batch: PendingBatch, input: SealInput): void {
  const { partition } = batch;
  batch.state = "sealed";
  batch.baseOffset = partition.nextOffset;
  batch.appendTimeMs = input.appendTimeMs;
  if (batch.firstSealedAt < 0) batch.firstSealedAt = input.sealedAt;
  stampBatch(batch.bytes, batch.baseOffset, partition.epoch);
  partition.nextOffset += batch.recordCount;
}

function toChunkShare(share: FlushShare): ChunkShare {
  return {
    topicId: share.partition.topicId,
    partition: share.partition.partition,
    epoch: share.partition.epoch,
    baseOffset: share.baseOffset,
    batches: share.batches.map((it) => it.bytes),
  };
}

function compare(a: Hold, b: Hold): number {
  if (a.topicId !== b.topicId) return a.topicId < b.topicId ? -1 : 1;
  return a.partition - b.partition;
}
