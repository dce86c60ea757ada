/** The door of this wing: what an application sends with. */
import type { ClientContext } from "../client/client-context.ts";
import type { Clock } from "../core/clock.ts";
import { asStreamHouseError, closed, invalid, type StreamHouseError } from "../core/errors.ts";
import type { ProducerRecord } from "../core/record.ts";
import { checkTopicName } from "../core/topic.ts";
import { type Accumulator, STALE } from "./accumulator.ts";
import { Bulk } from "./bulk.ts";
import { AbortableEntry, abortedError, type Reject, type Resolve, SendEntry } from "./entry.ts";
import {
  type ProducerOptions,
  type ResolvedProducerOptions,
  resolveProducerOptions,
} from "./options.ts";
import { createProducerParts, type ProducerParts } from "./parts.ts";
import type { BatchSendResult, SendResult } from "./send-result.ts";
import { type PendingSend, SendWaiter } from "./send-waiter.ts";
import type { TopicState } from "./topic-state.ts";

/** A record and the topic that it goes to. */
export interface SendRecord extends ProducerRecord {
  readonly topic: string;
}

/** What one `send` or `sendBatch` takes. */
export interface SendOptions {
  /**
   * Takes the record back if it is still waiting here (`ABORTED`, outcome `none`); once its batch is on its way the
   * error's outcome is `unknown`.
   */
  readonly signal?: AbortSignal | undefined;
}

/** Many records for one topic. */
export interface SendBatch {
  readonly topic: string;
  readonly records: readonly ProducerRecord[];
}

/** How long `close` may take. */
export interface CloseOptions {
  /** What is still pending after this many ms fails with `CLOSED`. Default: the producer's `deliveryTimeoutMs`. */
  readonly timeoutMs?: number | undefined;
}

/**
 * Sends records. For each partition they are appended in the order of the calls, across retries too. A failed send rejects
 * its own promise and is reported nowhere else.
 */
export interface Producer extends AsyncDisposable {
  /**
   * Sends one record; resolves when it is acknowledged as `acks` says. There is no need to await one
   * before the next.
   * @throws StreamHouseError (as a rejection) `TOPIC_NOT_FOUND`, `PARTITION_OUT_OF_RANGE`, `RECORD_TOO_LARGE`,
   * `INVALID_ARGUMENT`; `DEADLINE_EXCEEDED` when the delivery deadline ended (its message names the last failure);
   * `OVERLOADED` when too many sends wait for buffer space; `ABORTED`; `CLOSED`. `outcome` says whether the
   * record may have been written.
   */
  send(record: SendRecord, options?: SendOptions): Promise<SendResult>;
  /**
   * Sends many records with one promise: the fastest way. The array must not be changed before it settles.
   * @throws BatchSendError (as a rejection) if any record failed: it tells which were sent and which not
   */
  sendBatch(batch: SendBatch): Promise<BatchSendResult>;
  /** Sends everything now. Resolves when every send before this call has settled, well or badly; never rejects. */
  flush(): Promise<void>;
  /** Refuses new sends, flushes, and ends. Idempotent. After it nothing runs. */
  close(options?: CloseOptions): Promise<void>;
  /** Records taken by `send()` or `sendBatch()` that have not settled. */
  readonly pending: number;
  /**
   * A stream to pipe records into, with back-pressure by the buffer; made on first use. The first record that
   * fails errors it; closing it flushes.
   */
  readonly writable: WritableStream<SendRecord>;
}

/**
 * Makes a producer. It connects when the first record is sent.
 * @throws StreamHouseError `INVALID_ARGUMENT` for a bad option
 */
export function createProducer(context: ClientContext, options: ProducerOptions = {}): Producer {
  return new BatchingProducer(context, resolveProducerOptions(options));
}

class BatchingProducer implements Producer {
  readonly #options: ResolvedProducerOptions;
  readonly #clock: Clock;
  readonly #parts: ProducerParts;
  readonly #accumulator: Accumulator;
  #closing: Promise<void> | undefined;
  #writable: WritableStream<SendRecord> | undefined;
  // Promises are made with one function for all, so that no closure is made for each record.
  #resolve: Resolve = () => {};
  #reject: Reject = () => {};
  readonly #capture = (resolve: Resolve, reject: Reject): void => {
    this.#resolve = resolve;
    this.#reject = reject;
  };

  constructor(context: ClientContext, options: ResolvedProducerOptions) {
    this.#options = options;
    this.#clock = context.clock;
    this.#parts = createProducerParts(context, options);
    this.#accumulator = this.#parts.accumulator;
  }

  get pending(): number {
    return this.#accumulator.pending;
  }

  send(record: SendRecord, options?: SendOptions): Promise<SendResult> {
    if (this.#closing !== undefined) return Promise.reject(closed("this producer"));
    const signal = options?.signal;
    if (signal?.aborted) return Promise.reject(abortedError(signal.reason, true));
    let topic: TopicState;
    try {
      topic = this.#topic(record.topic);
    } catch (error) {
      return Promise.reject(error);
    }
    const promise = new Promise(this.#capture);
    const startedAt = this.#clock.monotonic();
    const timestamp = record.timestamp ?? this.#clock.now();
    const entry =
      signal === undefined
        ? new SendEntry(this.#resolve, this.#reject, startedAt, timestamp)
        : this.#abortable(topic, signal, startedAt, timestamp);
    entry.trace = this.#parts.tracing.send(record.topic, record, startedAt);
    this.#accumulator.taken(topic, 1);
    this.#place(topic, record, entry);
    return promise;
  }

  #topic(name: string): TopicState {
    const known = this.#accumulator.knownTopic(name);
    if (known !== undefined) return known;
    if (typeof name !== "string") throw missing("topic", "the name of a topic");
    checkTopicName(name);
    return this.#accumulator.addTopic(name);
  }

  #place(topic: TopicState, record: ProducerRecord, entry: SendEntry): void {
    const generation = this.#accumulator.generations.current;
    if (!this.#accumulator.canPlace(topic)) {
      this.#wait({ topic, record, entry, generation }, false);
      return;
    }
    const { startedAt, timestamp, trace } = entry;
    try {
      const headers = trace === undefined ? record.headers : trace.headersOf(record.headers);
      const arrival = { startedAt, timestamp, generation, headers };
      const batch = this.#accumulator.place(topic, record, arrival, false);
      if (batch === STALE) this.#wait({ topic, record, entry, generation }, true);
      else entry.enter(batch);
    } catch (error) {
      this.#refuse({ topic, record, entry, generation }, error);
    }
  }

  /** `stale`: the record's partition may exist only since its topic was looked up. */
  #wait(send: PendingSend, stale: boolean): void {
    const deadlineAt = send.entry.startedAt + this.#options.deliveryTimeoutMs;
    const at = { deadlineAt, certain: stale };
    const { line } = this.#accumulator;
    const waiter = new SendWaiter(send, this.#accumulator, at, this.#refuse);
    if (send.entry instanceof AbortableEntry) send.entry.leaveLine = () => line.leave(waiter);
    line.join(waiter, { stale });
  }

  /** Fails a record that is in no batch. */
  readonly #refuse = (send: PendingSend, thrown: unknown): void => {
    const error = asStreamHouseError(thrown, "send");
    this.#countRefused(send.topic, 1, error.code);
    send.entry.failed(send.topic, error, this.#clock.monotonic());
  };

  readonly #countRefused = (topic: TopicState, records: number, code: string): void => {
    topic.instruments.failed(code, records);
    this.#accumulator.settled(topic, records);
  };

  #abortable(
    topic: TopicState,
    signal: AbortSignal,
    startedAt: number,
    timestamp: number,
  ): SendEntry {
    const callbacks = { resolve: this.#resolve, reject: this.#reject };
    return new AbortableEntry(
      callbacks,
      { startedAt, timestamp },
      signal,
      (entry, error, batch) => {
        if (batch !== undefined) batch.unsettled--;
        this.#countRefused(topic, 1, error.code);
        entry.failed(topic, error, this.#clock.monotonic());
      },
    );
  }

  sendBatch(batch: SendBatch): Promise<BatchSendResult> {
    if (this.#closing !== undefined) return Promise.reject(closed("this producer"));
    return new Promise((resolve, reject) => {
      const topic = this.#topic(batch.topic);
      if (!Array.isArray(batch.records)) throw missing("records", "an array of records");
      const startedAt = this.#clock.monotonic();
      const origin = {
        startedAt,
        deadlineAt: startedAt + this.#options.deliveryTimeoutMs,
        now: this.#clock.now(),
        generation: this.#accumulator.generations.current,
        trace: this.#parts.tracing.sendBatch(topic.name, batch.records, startedAt),
      };
      const refused = this.#countRefused;
      const callbacks = { resolve, reject, refused };
      const bulk = new Bulk(topic, batch.records, this.#accumulator, origin, callbacks);
      this.#accumulator.taken(topic, batch.records.length);
      const progress = this.#accumulator.canPlace(topic) ? bulk.advance() : "full";
      if (progress !== "done") this.#accumulator.line.join(bulk, { stale: progress === "stale" });
    });
  }

  flush(): Promise<void> {
    return this.#accumulator.flush();
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs ?? this.#options.deliveryTimeoutMs);
    return this.#closing;
  }

  async #close(timeoutMs: number): Promise<void> {
    const over = Promise.withResolvers<void>();
    const timer = this.#clock.schedule(Math.max(0, timeoutMs), over.resolve);
    await Promise.race([this.#accumulator.flush(), over.promise]);
    timer.cancel();
    await this.#parts.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get writable(): WritableStream<SendRecord> {
    this.#writable ??= new WritableStream<SendRecord>({
      write: (record, controller) => {
        this.send(record).catch((error: unknown) => controller.error(error));
        return this.#accumulator.line.whenEmpty();
      },
      close: () => this.flush(),
    });
    return this.#writable;
  }
}

function missing(field: string, expected: string): StreamHouseError {
  return invalid("INVALID_ARGUMENT", `${field} is missing: give ${expected}`, { field });
}
