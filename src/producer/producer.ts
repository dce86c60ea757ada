/** The door of this wing: what an application sends with. */
import type { ClientContext } from "../client/client-context.ts";
import type { ProducerRecord } from "../core/record.ts";
import { type ProducerOptions, resolveProducerOptions } from "./options.ts";
import type { BatchSendResult, SendResult } from "./send-result.ts";

/** A record and the topic that it goes to. */
export interface SendRecord extends ProducerRecord {
  readonly topic: string;
}

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
  const resolved = resolveProducerOptions(options);
  throw new Error(`not yet: ${context.clientId} ${resolved.acks}`);
}
