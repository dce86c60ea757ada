/**
 * A batch of one partition, from its first record to its answer: bytes, the entries of its callers, and what is known of
 * its attempts. The accumulator opens and closes it, the sender seals and settles it.
 */
import type { SpanContext } from "@opentelemetry/api";
import type { StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import {
  NO_PRODUCER,
  type ProducerStamp,
  RecordBatchBuilder,
  restampProducer,
} from "../format/batch-builder.ts";
import { decodeBatch, plainRecord } from "../format/batch-decoder.ts";
import type { Compression } from "../format/compression.ts";
import { Lineage } from "../telemetry/lineage.ts";
import type { Entry, EntryBatch, EntryTopic } from "./entry.ts";
import type { Basis } from "./sequence.ts";
import type { RetryNote, SendTrace } from "./tracing.ts";

/** A batch's buffer begins with the expected size within these bounds: a small one after a large one must not waste much. */
const BYTES_INITIAL_MIN = 4_096;
const BYTES_INITIAL_MAX = 262_144;

/** `open` takes records · `closed` has all of them · `sealing` is being compressed · `sealed` has its bytes · `done` is settled. */
export type BatchPhase = "open" | "closed" | "sealing" | "sealed" | "done";

export interface BatchSettings {
  readonly partition: number;
  readonly compression: Compression;
  readonly batchBytes: number;
  /** A guess at how large it will be. */
  readonly bytesExpected: number;
  /** See `Accumulator`: flushes wait for their generation and older ones. */
  readonly generation: number;
  /** When its first record was sent, monotonic ms. */
  readonly startedAt: number;
  readonly deadlineAt: number;
}

export class ProducerBatch implements EntryBatch {
  readonly #compression: Compression;
  readonly partition: number;
  builder: RecordBatchBuilder;
  entries: Entry[] = [];
  generation: number;
  readonly startedAt: number;
  readonly deadlineAt: number;
  phase: BatchPhase = "open";
  /** It need not wait for more records. */
  due = false;
  /** Until then it waits for more records. Monotonic ms. */
  lingersUntil = 0;
  /** Share of the producer's buffer. */
  charged = 0;
  recordCount = 0;
  /** Records whose callers have not been told. */
  unsettled = 0;
  /** Where its records come from, if any of them comes from a trace. */
  lineage: Lineage | undefined = undefined;
  #takenBack = 0;
  bytes: Uint8Array | undefined = undefined;

  /** The mark that it was sent with; undefined until then. */
  basis: Basis | undefined = undefined;
  baseSequence = -1;
  ordinal = -1;
  /** Times it was handed to the network. */
  attempts = 0;
  /** An earlier attempt may have been applied: it can only be sent again with the same mark. */
  tainted = false;
  lastError: StreamHouseError | undefined = undefined;
  /** Times the agent answered `SEQUENCE_GAP` although nothing was before it. */
  gaps = 0;
  /** Its topic was looked up again because an agent did not know it. */
  topicRefreshed = false;
  /** Goes in a request of its own: a request with others was refused, and not said because of which. */
  alone = false;
  flying = false;
  /** When it was last handed to the network, monotonic ms. */
  handedOverAt = 0;
  /** Of the span of the request that it last went in. */
  requestSpan: SpanContext | undefined = undefined;

  constructor(settings: BatchSettings) {
    this.#compression = settings.compression;
    this.partition = settings.partition;
    this.builder = new RecordBatchBuilder({
      compression: settings.compression,
      bytesMax: settings.batchBytes,
      bytesInitial: Math.min(
        Math.max(settings.bytesExpected, BYTES_INITIAL_MIN),
        BYTES_INITIAL_MAX,
      ),
    });
    this.generation = settings.generation;
    this.startedAt = settings.startedAt;
    this.deadlineAt = settings.deadlineAt;
  }

  /** Bytes on the wire; before it is sealed, an upper bound. */
  get sizeBytes(): number {
    return this.bytes?.length ?? this.builder.sizeBytes;
  }

  /** Its bytes take more than a moment: `prepare()` before it is stamped. */
  get needsPreparation(): boolean {
    return this.bytes === undefined && (this.#compression !== "none" || this.#takenBack > 0);
  }

  get isTraced(): boolean {
    return this.lineage !== undefined;
  }

  addOrigin(trace: Pick<SendTrace, "origin"> | undefined): void {
    if (this.lineage === undefined) {
      this.lineage = new Lineage();
      // The records before came from no trace.
      if (this.recordCount > 1) this.lineage.add(undefined);
    }
    this.lineage.add(trace?.origin);
  }

  takeBack(): boolean {
    if (this.phase !== "open" && this.phase !== "closed") return false;
    this.#takenBack++;
    this.recordCount--;
    return true;
  }

  /** Compresses, and leaves out what was taken back. Afterwards `recordCount` may be 0: then there is nothing to send. */
  async prepare(): Promise<void> {
    this.phase = "sealing";
    if (this.#takenBack > 0) await this.#rebuild();
    if (this.recordCount > 0) this.bytes = await this.builder.seal(NO_PRODUCER);
    if (this.phase === "sealing") this.phase = "sealed";
  }

  async #rebuild(): Promise<void> {
    const records = await decodeBatch(await this.builder.seal(NO_PRODUCER), plainRecord);
    this.builder = new RecordBatchBuilder({
      compression: this.#compression,
      bytesMax: limits.batchBytesMax,
    });
    let at = 0;
    for (const entry of this.entries) {
      for (let i = 0; i < entry.count; i++) {
        const record = records[at++];
        if (record !== undefined && !entry.takenBack) this.builder.append(record);
      }
    }
    this.entries = this.entries.filter((entry) => !entry.takenBack);
  }

  /** Marks it for sending and answers its bytes. Not while earlier ones are on their way. */
  stamp(stamp: ProducerStamp): Uint8Array {
    if (this.bytes !== undefined) {
      restampProducer(this.bytes, stamp);
    } else {
      const bytes = this.builder.seal(stamp);
      if (bytes instanceof Promise) throw new TypeError("a compressed batch was not prepared");
      this.bytes = bytes;
    }
    this.phase = "sealed";
    this.baseSequence = stamp.baseSequence;
    return this.bytes;
  }

  /** Forgets its mark: it gets another when it is sent. Only if it was certainly not applied. */
  unstamp(): void {
    this.basis = undefined;
    this.baseSequence = -1;
    this.ordinal = -1;
  }

  /** Tells every caller. `baseOffset` is -1 when acks are not durable. */
  sent(topic: EntryTopic, partition: number, baseOffset: number, now: number): void {
    this.phase = "done";
    this.#measure(topic, now);
    let offset = baseOffset;
    for (const entry of this.entries) {
      entry.sent(topic, partition, offset, now);
      if (baseOffset >= 0) offset += entry.count;
    }
    this.#letGo();
  }

  failed(topic: EntryTopic, error: StreamHouseError, now: number): void {
    this.phase = "done";
    this.#measure(topic, now);
    for (const entry of this.entries) entry.failed(topic, error, now);
    this.#letGo();
  }

  /** It failed and is sent again: the spans of its records say so. */
  retried(note: RetryNote): void {
    if (this.isTraced) for (const entry of this.entries) entry.retried(note);
  }

  /** Where single sends are not measured: the longest wait of them, which is the first one's. */
  #measure({ instruments }: EntryTopic, now: number): void {
    if (!instruments.perBatch) return;
    instruments.sendDuration.recordIn((now - this.startedAt) / 1_000, this.requestSpan);
  }

  /** The bytes may still be on their way; the callers are not needed any more. */
  #letGo(): void {
    this.entries = [];
  }
}
