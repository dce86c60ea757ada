/**
 * The end of every batch: committed or failed, with what hangs on it (buffer, budget, producer state, tail cache,
 * instruments). A failed batch takes the later ones of its producer with it, which could never follow. Called by the
 * flusher and, when a caller's deadline ends, by the append gate.
 */
import type { Clock } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import type { AgentInstruments } from "./agent-instruments.ts";
import type { ByteBudget } from "./byte-budget.ts";
import type { Flush, FlushShare } from "./flush.ts";
import type { FlushBuffer } from "./flush-buffer.ts";
import type { Hold, PendingBatch } from "./pending-batch.ts";
import type { TailCache } from "./tail-cache.ts";
import type { WriteLedger } from "./write-ledger.ts";

export interface BatchSettlerComponents {
  readonly buffer: FlushBuffer;
  readonly budget: ByteBudget;
  readonly tail: TailCache;
  readonly ledger: WriteLedger;
  readonly instruments: Pick<AgentInstruments, "fenced">;
  readonly clock: Clock;
}

export class BatchSettler {
  readonly #buffer: FlushBuffer;
  readonly #budget: ByteBudget;
  readonly #tail: TailCache;
  readonly #ledger: WriteLedger;
  readonly #instruments: Pick<AgentInstruments, "fenced">;
  readonly #clock: Clock;

  constructor(components: BatchSettlerComponents) {
    this.#buffer = components.buffer;
    this.#budget = components.budget;
    this.#tail = components.tail;
    this.#ledger = components.ledger;
    this.#instruments = components.instruments;
    this.#clock = components.clock;
  }

  /** Puts committed batches where fetches look first. */
  cache(shares: readonly FlushShare[]): void {
    for (const { partition, batches } of shares) {
      if (isGone(partition)) continue;
      for (const { bytes, baseOffset, recordCount, appendTimeMs, charge } of batches) {
        const endOffset = baseOffset + recordCount;
        this.#tail.add(partition.topicId, partition.partition, {
          baseOffset,
          endOffset,
          bytes,
          appendTimeMs,
          charge,
        });
      }
    }
  }

  /** The batches of a committed flush. */
  commit(flush: Flush): void {
    const now = this.#clock.monotonic();
    this.#ledger.committed(flush);
    for (const { partition, batches } of flush.shares) {
      const { cells, log, producers } = partition;
      for (const batch of batches) {
        if (batch.producerId >= 0) producers.commit(batch, batch.appendTimeMs);
        cells.recordsWritten.add(batch.recordCount);
        cells.bytesWritten.add(batch.bytes.length);
        cells.writeLatency.recordIn((now - batch.receivedAt) / 1_000, batch.spanContext);
        batch.commit();
        this.#account(batch);
      }
      if (!isGone(partition)) cells.highWatermark.set(log.highWatermark);
    }
  }

  /** Fails buffered batches, last first, so that each gets this error and only later ones the follow-up's. */
  fail(batches: readonly PendingBatch[], error: StreamHouseError): void {
    for (let i = batches.length - 1; i >= 0; i--) {
      const batch = batches[i] as PendingBatch;
      if (!batch.settled) this.#failBuffered(batch, error);
    }
  }

  /** Fails every buffered batch. */
  failBuffered(error: StreamHouseError): void {
    this.fail(
      this.#buffer.filter(() => true),
      error,
    );
  }

  /** Fails buffered batches that were first sealed before this moment (by the monotonic clock). */
  failOverdue(before: number, error: () => StreamHouseError): void {
    // They lie in front.
    if ((this.#buffer.oldest?.firstSealedAt ?? -1) < 0) return;
    const overdue = this.#buffer.filter(
      (it) => it.firstSealedAt >= 0 && it.firstSealedAt <= before,
    );
    if (overdue.length > 0) this.fail(overdue, error());
  }

  /** Fails batches that were taken out of the buffer and are in no flush. */
  failTaken(batches: readonly PendingBatch[], error: StreamHouseError): void {
    this.#buffer.putBack(batches);
    for (const batch of batches) batch.state = "buffered";
    this.fail(batches, error);
  }

  /** Fails every buffered batch whose partition's lease is gone. */
  failLost(): void {
    const lost = this.#buffer.filter((it) => isGone(it.partition));
    for (let i = lost.length - 1; i >= 0; i--) {
      const batch = lost[i] as PendingBatch;
      if (!batch.settled) this.#failBuffered(batch, lostError(batch.partition));
    }
  }

  #failBuffered(batch: PendingBatch, error: StreamHouseError): void {
    const followers = batch.partition.producers.drop(batch);
    this.#end(batch, error);
    for (const follower of followers) this.#end(follower, followUpError(follower));
  }

  #end(batch: PendingBatch, error: StreamHouseError): void {
    this.#buffer.remove(batch);
    // Whoever kept it out, metadata or this agent itself: as many as are told LEASE_LOST.
    if (error.code === "LEASE_LOST") this.#instruments.fenced(1);
    batch.fail(error);
    this.#account(batch);
  }

  #account(batch: PendingBatch): void {
    this.#budget.release(batch.charge);
    batch.partition.batchSettled();
  }
}

function isGone(partition: Hold): boolean {
  return partition.phase === "lost" || partition.phase === "deleted";
}

/** Why a batch of a partition that is no longer held was not applied. */
function lostError(partition: Hold): StreamHouseError {
  if (partition.phase === "deleted") {
    return new StreamHouseError({
      code: "TOPIC_NOT_FOUND",
      kind: "invalid",
      message: `topic ${partition.topic} was deleted before the batch for partition ${partition.partition} was committed`,
    });
  }
  return new StreamHouseError({
    code: "LEASE_LOST",
    kind: "fenced",
    retriable: true,
    message: `the lease of ${partition.name} was lost before the batch was committed: send it to the new holder`,
  });
}

function followUpError(batch: PendingBatch): StreamHouseError {
  return new StreamHouseError({
    code: "SEQUENCE_GAP",
    kind: "unavailable",
    message:
      `an earlier batch of producer ${batch.producerId} for ${batch.partition.name} was not written, so sequence ` +
      `${batch.baseSequence} cannot follow: send the earlier one again first`,
  });
}
