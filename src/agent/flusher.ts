/**
 * From buffer to commit: seals flushes, writes them with the sink's overlap, commits them strictly in order, settles their
 * batches. When a flush fails, it and all later ones are undone: their batches go back to the buffer in order and get new
 * offsets and flush sequences. It never commits anything after a flush whose outcome is open. One for each agent.
 */
import type { Clock, Timer } from "../core/clock.ts";
import { asStreamHouseError, type StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import type { ChunkLocation } from "../format/chunk.ts";
import type { SegmentSink } from "../storage/segment-sink.ts";
import type { AgentInstruments } from "./agent-instruments.ts";
import type { BatchSettler } from "./batch-settler.ts";
import { type Flush, sealFlush } from "./flush.ts";
import type { FlushBuffer } from "./flush-buffer.ts";
import type { CommitVerdict, FlushCommitter } from "./flush-committer.ts";
import { flushTooLate, objectSwept, withOutcome, writeError } from "./flush-errors.ts";
import type { FlushLease } from "./flush-lease.ts";
import { FlushPacer, type FlushSituation } from "./flush-pacer.ts";
import type { FlushTracer } from "./flush-tracer.ts";
import type { LateCommits } from "./late-commits.ts";
import type { LogIndex } from "./log-index.ts";
import type { ResolvedAgentOptions } from "./options.ts";
import type { Hold, PendingBatch } from "./pending-batch.ts";
import type { Reachability } from "./reachability.ts";
import type { SegmentReferences } from "./segment-references.ts";

export interface FlusherComponents {
  readonly sink: SegmentSink;
  readonly buffer: FlushBuffer;
  readonly settler: BatchSettler;
  readonly committer: FlushCommitter;
  readonly late: LateCommits;
  readonly index: LogIndex;
  readonly segments: SegmentReferences;
  readonly instruments: AgentInstruments;
  readonly tracer: FlushTracer;
  readonly storeReachability: Reachability;
  readonly lease: FlushLease;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
}

const BACKGROUND = { background: true };

export class Flusher {
  readonly #parts: FlusherComponents;
  readonly #options: ResolvedAgentOptions;
  readonly #clock: Clock;
  readonly #pacer: FlushPacer;
  readonly #stop: AbortController = new AbortController();
  readonly #tasks = new Set<Promise<void>>();
  /** Sealed and not settled, in order. At most the first is committing. */
  readonly #flushes: Flush[] = [];
  #sequence = 0;
  /** Writes under way, those of undone flushes too. */
  #writing = 0;
  /** Undone flushes whose write has not answered: their batches' bytes may still be read. */
  #zombies = 0;
  #lastError: StreamHouseError | undefined;
  #pumpQueued = false;
  #timer: Timer | undefined;
  #draining = false;
  #idle: (() => void)[] = [];

  constructor(components: FlusherComponents, options: ResolvedAgentOptions) {
    this.#parts = components;
    this.#options = options;
    this.#clock = components.clock;
    this.#pacer = new FlushPacer(components, options, components.sink.concurrency);
  }

  /** Takes an accepted batch. Seals in a microtask, so that what arrives together is flushed together. */
  submit(batch: PendingBatch): void {
    this.#parts.buffer.push(batch);
    this.#wake();
  }

  /** The leases of these are gone (their phase says why); their batches fail unless their commit is under way. */
  partitionsLost(lost: ReadonlySet<Hold>): void {
    const affected = this.#flushes.findIndex(
      (flush) => flush.state !== "committing" && flush.shares.some((it) => lost.has(it.partition)),
    );
    if (affected >= 0) {
      for (const it of this.#flushes.slice(affected)) it.tellLost(lost);
      this.#parts.buffer.putBack(this.#undoFrom(affected));
    }
    this.#parts.settler.failLost();
    this.#wake();
  }

  /** Flushes whose offsets are provisional, in order. */
  get sealed(): readonly Flush[] {
    return this.#flushes;
  }

  /** Resolves when nothing is buffered or sealed. From now on nothing waits for its age. */
  drain(): Promise<void> {
    this.#draining = true;
    this.#wake();
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Accepting begins again, with a new run. */
  resume(): void {
    this.#draining = false;
  }

  /** Fails what is left and ends every task. Bounded by what the sink and metadata do with an aborted call. */
  async stop(error: StreamHouseError): Promise<void> {
    const { buffer, settler } = this.#parts;
    const first = this.#flushes.findIndex((flush) => flush.state !== "committing");
    if (first >= 0) buffer.putBack(this.#undoFrom(first));
    settler.failBuffered(error);
    this.#timer?.cancel();
    this.#stop.abort();
    await Promise.all(this.#tasks);
  }

  #isIdle(): boolean {
    return this.#flushes.length === 0 && this.#parts.buffer.length === 0;
  }

  #wake(): void {
    if (this.#pumpQueued) return;
    this.#pumpQueued = true;
    queueMicrotask(() => {
      this.#pumpQueued = false;
      this.#pump();
    });
  }

  /** Seals what may be sealed, and sets the timer for what may be sealed later. */
  #pump(): void {
    if (this.#stop.signal.aborted) return;
    this.#failOverdue();
    let at = this.#situation();
    while (this.#pacer.waitMs(at) === 0) {
      this.#seal();
      at = this.#situation();
    }
    this.#timer?.cancel();
    this.#timer = undefined;
    const wait = Math.min(this.#pacer.waitMs(at), this.#pacer.overdueMs(at));
    if (wait < Number.POSITIVE_INFINITY)
      this.#timer = this.#clock.schedule(wait, () => this.#pump(), BACKGROUND);
    if (this.#isIdle()) for (const wake of this.#idle.splice(0)) wake();
  }

  #situation(): FlushSituation {
    const { buffer } = this.#parts;
    return {
      oldest: buffer.oldest,
      bufferedBytes: buffer.bytes,
      flushes: this.#flushes.length,
      writing: this.#writing,
      zombies: this.#zombies,
      draining: this.#draining,
    };
  }

  #seal(): void {
    const { buffer, lease, settler } = this.#parts;
    const batches = buffer.take(this.#options.flushBytesMax);
    this.#sequence++;
    this.#pacer.sealed();
    const input = {
      runId: lease.runId,
      sequence: this.#sequence,
      batches,
      appendTimeMs: this.#clock.now(),
      sealedAt: this.#clock.monotonic(),
      span: this.#parts.tracer.begin(batches),
    };
    let flush: Flush;
    try {
      flush = sealFlush(input);
    } catch (thrown) {
      // Cannot happen with checked batches. The offsets it may have taken are wrong now, so begin again from metadata.
      settler.failTaken(batches, asStreamHouseError(thrown, "sealing a flush"));
      lease.runInDoubt(input.runId, "a flush could not be sealed");
      return;
    }
    this.#flushes.push(flush);
    let first = input.sealedAt;
    for (const batch of batches) first = Math.min(first, batch.firstSealedAt);
    const left = Math.max(0, first + this.#options.flushTimeLimitMs - input.sealedAt);
    flush.timeLimit = this.#clock.schedule(left, () => this.#timeIsUp(flush), BACKGROUND);
    this.#track(this.#write(flush));
  }

  async #write(flush: Flush): Promise<void> {
    const { sink, segments, storeReachability } = this.#parts;
    this.#writing++;
    try {
      const location = await flush.span.put(() =>
        sink.append(flush.chunk.parts, flush, flush.abort.signal),
      );
      storeReachability.ok();
      segments.written(location.key);
      segments.retain(location.key);
      if (flush.state === "writing") {
        flush.location = location;
        flush.state = "written";
        this.#pacer.writeSucceeded();
      } else segments.release(location.key);
    } catch (thrown) {
      if (flush.state === "writing") {
        storeReachability.failed();
        this.#writeFailed(flush, writeError(thrown));
      }
    } finally {
      this.#writing--;
      // Undone while it was being written: only now are its batches' bytes free to be stamped again.
      if (flush.state === "undone") this.#zombies--;
    }
    this.#commitNext();
    this.#pump();
  }

  #writeFailed(flush: Flush, error: StreamHouseError): void {
    const what = { flush: flush.sequence, error: error.message };
    this.#parts.logger.warn("a flush could not be written", what);
    this.#pacer.writeFailed();
    this.#retry(flush, error, error.code === "STORE_FULL" || !error.retriable);
  }

  /** Undoes the flush and all later ones. Its own batches fail if their time is up (or for good), the others are sealed again. */
  #retry(flush: Flush, error: StreamHouseError, forGood: boolean): void {
    this.#ended(flush, "failed");
    // Nothing of it is committed or ever will be, whatever the store says about the chunk itself.
    this.#lastError = withOutcome(error, "none");
    this.#parts.buffer.putBack(this.#undoFrom(this.#flushes.indexOf(flush)));
    if (forGood) this.#parts.settler.fail(flush.batches, this.#lastError);
    this.#failOverdue();
  }

  /** Batches that were sealed before, and whose time limit has passed, fail with the error that undid them. */
  #failOverdue(): void {
    const limitMs = this.#options.flushTimeLimitMs;
    const error = () => this.#lastError ?? flushTooLate("writing", limitMs);
    this.#parts.settler.failOverdue(this.#clock.monotonic() - limitMs, error);
  }

  /** Takes flushes from this one on back, latest first. Answers their batches in order; none of these is committing. */
  #undoFrom(index: number): PendingBatch[] {
    const undone = this.#flushes.splice(index);
    for (const flush of undone.toReversed()) {
      if (flush.state === "writing") this.#zombies++;
      if (flush.location !== undefined) this.#parts.segments.release(flush.location.key);
      flush.undo();
      this.#ended(flush, "undone");
    }
    return undone.flatMap((flush) => flush.batches.filter((it) => !it.settled));
  }

  #timeIsUp(flush: Flush): void {
    const late = flushTooLate(flush.state, this.#options.flushTimeLimitMs);
    if (flush.state === "committing") {
      // Between two attempts that were not applied the committer's own limit ends it, with outcome none.
      if (!this.#parts.committer.outcomeOpen) return;
      for (const batch of flush.batches) batch.dismissWaiters(late);
      return;
    }
    if (flush.state === "writing") this.#parts.storeReachability.failed();
    this.#retry(flush, this.#lastError ?? late, false);
    this.#pump();
  }

  /** Begins the first flush's commit if it is written and nothing is being committed. */
  #commitNext(): void {
    const head = this.#flushes[0];
    if (head?.state !== "written" || head.location === undefined) return;
    head.state = "committing";
    this.#track(this.#commit(head, head.location));
  }

  async #commit(flush: Flush, location: ChunkLocation): Promise<void> {
    const { committer, lease, segments } = this.#parts;
    const verdict = await flush.span.commit((retried) =>
      committer.commit(() => flush.toCommit(location), {
        until: flush.sealedAt + this.#options.flushTimeLimitMs,
        mayCommit: () => lease.runId === flush.runId && lease.isValid(),
        signal: this.#stop.signal,
        retried,
      }),
    );
    flush.timeLimit?.cancel();
    this.#finish(flush, location, verdict);
    // If it was committed, the index holds its own reference now. If it may be, this one stays: nothing must delete it.
    if (verdict.status !== "unknown") segments.release(location.key);
    this.#commitNext();
    this.#pump();
  }

  #finish(flush: Flush, location: ChunkLocation, verdict: CommitVerdict): void {
    const { late, lease, settler, buffer } = this.#parts;
    this.#ended(flush, verdict.status);
    if (verdict.status === "committed") {
      this.#committed(flush, location);
      return;
    }
    flush.location = undefined;
    if (verdict.status === "swept") {
      this.#writeFailed(flush, objectSwept(location.key));
      return;
    }
    buffer.putBack(this.#undoFrom(0));
    if (verdict.status === "refused") {
      lease.refused(flush.runId, verdict.partitions);
      // Those whose lease was gone before the answer are not the lease manager's any more.
      settler.failLost();
      return;
    }
    const outcome = verdict.status === "unknown" ? "unknown" : "none";
    if (outcome === "unknown") late.expect(flush);
    settler.fail(flush.batches, withOutcome(verdict.error, outcome));
    // Unknown, or a disagreement about offsets: only a new epoch makes what is in memory certain again.
    if (verdict.status === "unknown" || verdict.error.kind !== "unavailable") {
      lease.runInDoubt(flush.runId, verdict.error.message);
    }
  }

  #committed(flush: Flush, location: ChunkLocation): void {
    const { index, settler } = this.#parts;
    this.#flushes.shift();
    flush.state = "done";
    if (this.#flushes.length === 0) this.#lastError = undefined;
    // Cached first: the index wakes fetches, which should find the batches there.
    settler.cache(flush.shares);
    index.applyOwn({
      runId: flush.runId,
      flushSequence: flush.sequence,
      location,
      entries: flush.chunk.entries,
    });
    settler.commit(flush);
  }

  #ended(flush: Flush, outcome: string): void {
    flush.end(outcome, this.#clock.monotonic(), this.#parts.instruments);
  }

  #track(task: Promise<void>): void {
    this.#tasks.add(task);
    void task.finally(() => this.#tasks.delete(task));
  }
}
