/**
 * The door of the append path, for batches that are sound in themselves: is the lease held, is there room, does the
 * sequence follow? What passes is in the flush buffer; who waits for it has a deadline. All of it is
 * synchronous, so that requests are applied in the order in which they come. Called by the produce service.
 */
import type { SpanContext } from "@opentelemetry/api";
import type { Clock } from "../core/clock.ts";
import { Deadlines } from "../core/deadlines.ts";
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import type { Topic } from "../core/topic.ts";
import type { BatchHeader } from "../format/batch-header.ts";
import type { BatchResult } from "../rpc/gen/streamhouse/v1/producer.ts";
import type { BatchSettler } from "./batch-settler.ts";
import { type ByteBudget, chargesOf } from "./byte-budget.ts";
import type { ClusterView, Whereabouts } from "./cluster-view.ts";
import type { Flusher } from "./flusher.ts";
import type { Holdings } from "./holdings.ts";
import type { LeaseProof } from "./lease-proof.ts";
import { type Hold, PendingBatch } from "./pending-batch.ts";
import { ProduceCall } from "./produce-call.ts";

/** A batch that passed the checks of its bytes. */
export interface CheckedBatch {
  readonly topic: Topic;
  readonly partition: number;
  readonly bytes: Uint8Array;
  readonly header: BatchHeader;
}

/** What the batches of one request have in common. */
export interface AppendTerms {
  /** False for acks `buffered` and `none`: answered when accepted, written even if nobody waits. */
  readonly durable: boolean;
  /** By the monotonic clock. */
  readonly receivedAt: number;
  readonly deadlineAt: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** Of the request's span. */
  readonly spanContext: SpanContext | undefined;
}

export interface AppendGateComponents {
  readonly holdings: Holdings;
  readonly view: Pick<ClusterView, "whereIs">;
  readonly lease: { readonly runId: string; isValid(): boolean };
  readonly proof: Pick<LeaseProof, "stands">;
  readonly flusher: Flusher;
  readonly settler: BatchSettler;
  readonly budget: ByteBudget;
  readonly clock: Clock;
}

/** About as long as a flush takes: by then there is room again, if the store is well. */
const RETRY_AFTER_MS = 50;

const NOWHERE: Whereabouts = { address: "", comesHere: false };

export class AppendGate {
  readonly #parts: AppendGateComponents;
  readonly #deadlines: Deadlines<ProduceCall>;
  readonly #timeouts = new WeakMap<ProduceCall, number>();
  #closed: StreamHouseError | undefined;

  constructor(components: AppendGateComponents) {
    this.#parts = components;
    this.#deadlines = new Deadlines(components.clock, (call) => this.#expired(call));
  }

  /** From now on every request is refused with this error; undefined opens the gate again. */
  close(error: StreamHouseError | undefined): void {
    this.#closed = error;
  }

  /**
   * Takes the batches in. Throws at once if the request as a whole is refused: nothing was applied then. Otherwise each batch
   * has its result; the promise rejects if all of them failed.
   * @throws StreamHouseError `OVERLOADED`, `AGENT_DRAINING`
   */
  append(batches: readonly CheckedBatch[], terms: AppendTerms): Promise<BatchResult[]> {
    if (this.#closed !== undefined) throw this.#closed;
    const charges = chargesOf(batches.map((it) => it.bytes));
    const total = charges.reduce((sum, it) => sum + it, 0);
    const { budget } = this.#parts;
    if (!budget.take(total)) throw overloaded(total, budget);
    const call = new ProduceCall(batches.map(emptyResult), (it) => this.#deadlines.remove(it));
    let unused = total;
    batches.forEach((batch, slot) => {
      const charge = charges[slot] as number;
      try {
        if (this.#appendOne(call, slot, batch, charge, terms)) unused -= charge;
      } catch (thrown) {
        // Of this batch alone: those before it are taken, and the room that it was to have is given back.
        call.batchFailed(slot, asStreamHouseError(thrown, "taking a batch in"));
      }
    });
    budget.release(unused);
    if (!call.done) this.#watch(call, terms);
    return call.promise;
  }

  /** No call waits after the agent's stop; what was left was failed by the flusher. */
  stop(): void {
    this.#deadlines.clear();
  }

  /** Answers whether the batch is in the buffer now. */
  #appendOne(
    call: ProduceCall,
    slot: number,
    batch: CheckedBatch,
    charge: number,
    terms: AppendTerms,
  ): boolean {
    const hold = this.#held(batch);
    if (hold instanceof StreamHouseError) {
      call.batchFailed(slot, hold);
      return false;
    }
    if (batch.header.producerId >= 0) {
      const verdict = hold.producers.check(batch.header);
      switch (verdict.kind) {
        case "refused":
          if (isOfMemory(verdict.error)) void this.#refuseIfSure(call, slot, batch, verdict.error);
          else call.batchFailed(slot, verdict.error);
          return false;
        case "pending":
          call.waitFor(slot, verdict.batch, true);
          return false;
        case "duplicate":
          call.answer(slot, verdict.baseOffset, appendTime(hold, verdict.baseOffset), true);
          return false;
        case "append":
      }
    }
    const pending = new PendingBatch({
      partition: hold,
      bytes: batch.bytes,
      header: batch.header,
      charge,
      receivedAt: terms.receivedAt,
      spanContext: terms.spanContext,
      keep: !terms.durable,
    });
    if (pending.producerId >= 0) hold.producers.begin(pending);
    hold.batchAccepted();
    if (terms.durable) call.waitFor(slot, pending, false);
    else call.answer(slot, -1, 0, false);
    this.#parts.flusher.submit(pending);
    return true;
  }

  /**
   * A gap tells the producer that the batch is not in the log, whatever became of it elsewhere: that must not be said by an agent whose
   * place another one has taken, and which does not know it yet.
   */
  async #refuseIfSure(
    call: ProduceCall,
    slot: number,
    batch: CheckedBatch,
    refusal: StreamHouseError,
  ): Promise<void> {
    const { lease, proof } = this.#parts;
    let error: StreamHouseError;
    try {
      const stands = await proof.stands(lease.runId);
      error = stands ? refusal : this.#elsewhere(batch);
    } catch (thrown) {
      error = asStreamHouseError(thrown, `looking whether the lease of ${batch.topic.name} stands`);
    }
    // Its deadline may have ended meanwhile.
    if (call.isOpen(slot)) call.batchFailed(slot, error);
  }

  #held(batch: CheckedBatch): Hold | StreamHouseError {
    const { holdings, lease } = this.#parts;
    const hold = holdings.get(batch.topic.id, batch.partition);
    return hold?.phase === "held" && lease.isValid() ? hold : this.#elsewhere(batch);
  }

  #elsewhere(batch: CheckedBatch): StreamHouseError {
    const { lease, view } = this.#parts;
    const where = view.whereIs({ topicId: batch.topic.id, partition: batch.partition });
    // Cut from metadata it can take nothing, and knows no more who does: whoever else is asked knows better.
    const { address, comesHere } = lease.isValid() ? where : NOWHERE;
    const what = `the lease of ${batch.topic.name}/${batch.partition}`;
    const elsewhere =
      address === "" ? "ask DescribeCluster who does, and try again" : `ask ${address}`;
    return new StreamHouseError({
      code: "NOT_LEASE_HOLDER",
      kind: "unavailable",
      holderAddress: address === "" ? undefined : address,
      retryAfterMs: comesHere ? RETRY_AFTER_MS : undefined,
      message: comesHere
        ? `this agent is about to take ${what}: send it again in ${RETRY_AFTER_MS} ms`
        : `this agent does not hold ${what}: ${elsewhere}`,
    });
  }

  #watch(call: ProduceCall, terms: AppendTerms): void {
    this.#deadlines.add(call, terms.deadlineAt);
    this.#timeouts.set(call, terms.timeoutMs);
    const { signal } = terms;
    if (signal === undefined) return;
    const leave = () => this.#leave(call, "the caller went away");
    if (signal.aborted) {
      leave();
      return;
    }
    signal.addEventListener("abort", leave, { once: true });
    const done = () => signal.removeEventListener("abort", leave);
    call.promise.then(done, done);
  }

  #expired(call: ProduceCall): void {
    this.#leave(call, `the deadline of ${this.#timeouts.get(call) ?? 0} ms ended`);
  }

  /** Batches that are in no flush yet are taken back; the others go on, with an outcome that the caller does not learn. */
  #leave(call: ProduceCall, why: string): void {
    for (const batch of [...call.waitingFor()]) {
      // A follower of a batch taken back just now has failed with it.
      if (batch.settled) continue;
      batch.removeWaiter(call);
      const slot = call.slotOf(batch);
      if (batch.state === "buffered" && !batch.wanted) {
        const error = late(batch, `${why} before it was written: it was not applied`, "none");
        call.batchFailed(slot, error);
        this.#parts.settler.fail([batch], error);
      } else {
        call.batchFailed(slot, late(batch, `${why} while it was being written`, "unknown"));
      }
    }
    for (const slot of call.openSlots()) call.batchFailed(slot, unsure(why));
  }
}

function emptyResult(batch: CheckedBatch): BatchResult {
  return {
    topicId: batch.topic.id,
    partition: batch.partition,
    baseOffset: -1,
    appendTimeMs: 0,
    duplicate: false,
    error: undefined,
  };
}

/** Of a batch committed earlier; 0 if retention has taken it meanwhile. */
function appendTime(hold: Hold, offset: number): number {
  return offset < hold.log.logStart ? 0 : (hold.log.appendTimeAt(offset) ?? 0);
}

function late(batch: PendingBatch, why: string, outcome: "none" | "unknown"): StreamHouseError {
  return new StreamHouseError({
    code: "DEADLINE_EXCEEDED",
    kind: "unavailable",
    outcome,
    message: `batch for ${batch.partition.name}: ${why}`,
  });
}

/** Refusals that say what was, and was not, written before. */
function isOfMemory(error: StreamHouseError): boolean {
  return error.code === "UNKNOWN_PRODUCER" || (error.code === "SEQUENCE_GAP" && error.retriable);
}

function unsure(why: string): StreamHouseError {
  return new StreamHouseError({
    code: "DEADLINE_EXCEEDED",
    kind: "unavailable",
    message: `${why} before metadata had said whether this agent still holds the partition: it was not applied`,
  });
}

function overloaded(bytes: number, budget: ByteBudget): StreamHouseError {
  return new StreamHouseError({
    code: "OVERLOADED",
    kind: "unavailable",
    retryAfterMs: RETRY_AFTER_MS,
    message:
      `the agent holds ${budget.used} bytes of batches that are not written yet and cannot take ${bytes} more: ` +
      `its limit is ${budget.max}; send it again in ${RETRY_AFTER_MS} ms`,
  });
}
