/**
 * A topic whose values have a type. Values are checked by a Standard Schema when they are sent and again when they are read,
 * since other programs may write to the topic too. It wraps a producer and a consumer and adds nothing to how they deliver.
 */
import type { Consumer } from "../consumer/consumer.ts";
import type { ConsumerOptions } from "../consumer/options.ts";
import type { RunContext, RunOptions } from "../consumer/run-options.ts";
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { BytesLike, ConsumerRecord, HeadersInput, ProducerRecord } from "../core/record.ts";
import type { ProducerOptions } from "../producer/options.ts";
import type { CloseOptions, Producer } from "../producer/producer.ts";
import type { BatchSendResult, SendResult } from "../producer/send-result.ts";
import { type StandardSchema, schemaMismatch, validate } from "./standard-schema.ts";

/** How values become bytes and back. */
export interface Serializer {
  encode(value: unknown): BytesLike;
  decode(bytes: Uint8Array): unknown;
}

/** How the values of a topic are checked, keyed and written as bytes. */
export interface TopicOptions<Input, Output> {
  /** Checks and converts values at both ends. Without one, values are taken as they come. */
  readonly schema?: StandardSchema<Input, Output> | undefined;
  /** The key of a value; same key, same partition. Default: none. */
  readonly key?: ((value: Input) => BytesLike | null | undefined) | undefined;
  /** Default: JSON in UTF-8. */
  readonly serializer?: Serializer | undefined;
  /**
   * What becomes of a record that does not match: `throw` (default) ends the reading with `SCHEMA_MISMATCH` and leaves the
   * record uncommitted; `skip` logs it and goes on.
   */
  readonly onMismatch?: "throw" | "skip" | undefined;
}

/** What may go along with a typed value. */
export interface TypedSendOptions {
  /** Overrides the topic's `key` function. */
  readonly key?: BytesLike | null | undefined;
  readonly headers?: HeadersInput | undefined;
  readonly partition?: number | undefined;
  /** Milliseconds since 1970; default: the time of `send`. */
  readonly timestamp?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A record with its decoded and checked value. A tombstone's value is `null`, if the schema lets it pass. */
export interface TypedRecord<Output> {
  readonly value: Output;
  /** Where it was, its key and headers, and the bytes. */
  readonly record: ConsumerRecord;
}

/** Sends values of one topic, checked by its schema. `close` and disposal flush first. */
export interface TypedProducer<Input> extends AsyncDisposable {
  /** The producer underneath, for what is not here. */
  readonly raw: Producer;
  /** Sends one value. @throws as `Producer.send`, and `SCHEMA_MISMATCH` before anything is sent */
  send(value: Input, options?: TypedSendOptions): Promise<SendResult>;
  /** Sends many values. If any does not match, none is sent. @throws as `Producer.sendBatch`, and `SCHEMA_MISMATCH` */
  sendBatch(values: readonly Input[]): Promise<BatchSendResult>;
  flush(): Promise<void>;
  close(options?: CloseOptions): Promise<void>;
}

/** As `RunHandler`, with the decoded and checked value. */
export type TypedRunHandler<Output> = (
  record: TypedRecord<Output>,
  context: RunContext,
) => void | Promise<void>;

/** Reads values of one topic, checked by its schema. What is committed, and when, is as for `Consumer`. */
export interface TypedConsumer<Output> extends AsyncDisposable, AsyncIterable<TypedRecord<Output>> {
  /** The consumer underneath: `seek`, `pause`, `lag` … */
  readonly raw: Consumer;
  /**
   * Calls `handler` for each value, as `Consumer.run` does for each record. A record that does not match is skipped, if the topic says so;
   * otherwise it is given up without another attempt: to the dead-letter topic, or `run` rejects with `SCHEMA_MISMATCH`.
   */
  run(handler: TypedRunHandler<Output>, options?: RunOptions): Promise<void>;
  /** Commits as `Consumer.commit`. */
  commit(): Promise<void>;
  close(): Promise<void>;
}

/** A topic whose values have a type. It holds nothing open; what it makes belongs to the house. */
export interface TypedTopic<Input, Output = Input> {
  readonly name: string;
  /** Makes a producer for this topic. */
  producer(options?: ProducerOptions): TypedProducer<Input>;
  /** Makes a consumer of this topic alone. @throws StreamHouseError `SCHEMA_MISMATCH` while iterating, see `onMismatch` */
  consumer(options: Omit<ConsumerOptions, "topics">): TypedConsumer<Output>;
}

/** What a typed topic opens its producers and consumers with: a house. */
export interface ClientSource {
  producer(options?: ProducerOptions): Producer;
  consumer(options: ConsumerOptions): Consumer;
}

const decoder = new TextDecoder("utf-8", { fatal: true });

const json: Serializer = {
  encode(value) {
    const text = JSON.stringify(value) as string | undefined;
    if (text === undefined) throw new TypeError(`${typeof value} has no JSON form`);
    return text;
  },
  decode: (bytes) => JSON.parse(decoder.decode(bytes)) as unknown,
};

/** Called by `House.topic`. */
export function createTypedTopic<Input, Output>(
  source: ClientSource,
  logger: Logger,
  name: string,
  options: TopicOptions<Input, Output>,
): TypedTopic<Input, Output> {
  const codec = new ValueCodec<Input, Output>(name, options);
  return {
    name,
    producer: (producerOptions) => new ValueProducer(source.producer(producerOptions), codec),
    consumer: (consumerOptions) =>
      new ValueConsumer(
        source.consumer({ ...consumerOptions, topics: [name] }),
        codec,
        options.onMismatch === "skip" ? logger : undefined,
      ),
  };
}

/** Values to records and back, for one topic. */
class ValueCodec<Input, Output> {
  readonly topic: string;
  readonly #schema: StandardSchema<Input, Output> | undefined;
  readonly #key: (value: Input) => BytesLike | null | undefined;
  readonly #serializer: Serializer;

  constructor(topic: string, options: TopicOptions<Input, Output>) {
    this.topic = topic;
    this.#schema = options.schema;
    this.#key = options.key ?? (() => undefined);
    this.#serializer = options.serializer ?? json;
  }

  /** What is checked is what is sent: the schema's defaults and conversions are for the reader, who applies them again. */
  encode(value: Input, options: TypedSendOptions): ProducerRecord | Promise<ProducerRecord> {
    const what = `the value for topic ${this.topic}`;
    const checked = this.#schema === undefined ? value : validate(this.#schema, value, what);
    if (checked instanceof Promise) return checked.then(() => this.#record(value, options, what));
    return this.#record(value, options, what);
  }

  #record(value: Input, options: TypedSendOptions, what: string): ProducerRecord {
    const { key = this.#key(value), headers, partition, timestamp } = options;
    return { key, value: this.#bytes(value, what), headers, partition, timestamp };
  }

  #bytes(value: Input, what: string): BytesLike | null {
    if (value === null) return null;
    try {
      return this.#serializer.encode(value);
    } catch (cause) {
      throw schemaMismatch(what, `it cannot be serialized (${messageOf(cause)})`, cause);
    }
  }

  decode(record: ConsumerRecord): Output | Promise<Output> {
    const what = `record ${record.topic}/${record.partition}@${record.offset}`;
    let value: unknown = null;
    if (record.value !== null) {
      try {
        value = this.#serializer.decode(record.value);
      } catch (cause) {
        throw schemaMismatch(what, `its bytes cannot be read (${messageOf(cause)})`, cause);
      }
    }
    return this.#schema === undefined ? (value as Output) : validate(this.#schema, value, what);
  }
}

class ValueProducer<Input> implements TypedProducer<Input> {
  readonly raw: Producer;
  readonly #codec: ValueCodec<Input, unknown>;
  /** Values of asynchronous schemas that have not been handed to the producer yet; undefined when there are none. */
  #checking: Promise<void> | undefined;

  constructor(raw: Producer, codec: ValueCodec<Input, unknown>) {
    this.raw = raw;
    this.#codec = codec;
  }

  async send(value: Input, options: TypedSendOptions = {}): Promise<SendResult> {
    return this.#inOrder(this.#codec.encode(value, options), (record) =>
      this.raw.send({ ...record, topic: this.#codec.topic }, { signal: options.signal }),
    );
  }

  async sendBatch(values: readonly Input[]): Promise<BatchSendResult> {
    const encoded = values.map((value) => this.#encode(value));
    const records = encoded.some((it) => it instanceof Promise)
      ? Promise.all(encoded)
      : (encoded as ProducerRecord[]);
    return this.#inOrder(records, (all) =>
      this.raw.sendBatch({ topic: this.#codec.topic, records: all }),
    );
  }

  /** A value that is refused at once becomes a rejection like one that is refused later. */
  #encode(value: Input): ProducerRecord | Promise<ProducerRecord> {
    try {
      return this.#codec.encode(value, {});
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async flush(): Promise<void> {
    await this.#checking;
    await this.raw.flush();
  }

  async close(options?: CloseOptions): Promise<void> {
    await this.#checking;
    await this.raw.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Hands over in the order of the calls: at once, unless this value or an earlier one is still being checked. */
  async #inOrder<T, R>(encoded: T | Promise<T>, handOver: (it: T) => Promise<R>): Promise<R> {
    if (this.#checking === undefined && !(encoded instanceof Promise)) return handOver(encoded);
    const turn = Promise.allSettled([encoded, this.#checking]).then(([own]) => {
      if (own.status === "rejected") throw own.reason;
      // In an object, so that the next value waits for the handing over and not for the acknowledgement.
      return { sent: handOver(own.value) };
    });
    const done = turn.then(
      () => {},
      () => {},
    );
    this.#checking = done;
    void done.then(() => {
      if (this.#checking === done) this.#checking = undefined;
    });
    return (await turn).sent;
  }
}

class ValueConsumer<Output> implements TypedConsumer<Output> {
  readonly raw: Consumer;
  readonly #codec: Pick<ValueCodec<never, Output>, "topic" | "decode">;
  /** Set when records that do not match are to be skipped: where that is told. */
  readonly #skipLog: Logger | undefined;

  constructor(
    raw: Consumer,
    codec: Pick<ValueCodec<never, Output>, "topic" | "decode">,
    skipLog: Logger | undefined,
  ) {
    this.raw = raw;
    this.#codec = codec;
    this.#skipLog = skipLog;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TypedRecord<Output>> {
    for await (const record of this.raw) {
      const typed = await this.#decode(record);
      if (typed !== undefined) yield typed;
    }
  }

  run(handler: TypedRunHandler<Output>, options?: RunOptions): Promise<void> {
    return this.raw.run(async (record, context) => {
      const typed = await this.#decode(record);
      if (typed !== undefined) await handler(typed, context);
    }, options);
  }

  /** Undefined for a record that is skipped. */
  async #decode(record: ConsumerRecord): Promise<TypedRecord<Output> | undefined> {
    try {
      return { value: await this.#codec.decode(record), record };
    } catch (error) {
      if (this.#skipLog === undefined || !isMismatch(error)) {
        throw asStreamHouseError(error, `reading a value of topic ${this.#codec.topic}`);
      }
      this.#skipLog.warn("skipped a record", { reason: error.message });
      return undefined;
    }
  }

  commit(): Promise<void> {
    return this.raw.commit();
  }

  close(): Promise<void> {
    return this.raw.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function isMismatch(error: unknown): error is StreamHouseError {
  return StreamHouseError.is(error) && error.code === "SCHEMA_MISMATCH";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
