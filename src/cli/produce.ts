/**
 * `streamhouse produce TOPIC`: one record a line of standard input, no faster than they are acknowledged. A record that cannot
 * be sent is counted and named; the summary and the exit code say whether all were sent.
 */
import { type ErrorCode, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { ProducerRecord } from "../core/record.ts";
import { checkPartition } from "../core/topic.ts";
import type { Producer } from "../producer/producer.ts";
import { BatchSendError } from "../producer/send-result.ts";
import type { Arguments, CommandSpec } from "./arguments.ts";
import type { CliIo } from "./cli-io.ts";
import { agentsOption, withHouse } from "./house-options.ts";
import { type Line, readLines } from "./line-input.ts";
import { topicName } from "./topic.ts";

export const produceSpec: CommandSpec = {
  name: "produce",
  summary: "Send lines of standard input as records",
  positionals: ["TOPIC"],
  options: {
    "key-separator": {
      value: "SEP",
      help: "what stands before the first SEP of a line is its key; a line without SEP has no key",
    },
    partition: { value: "P", help: "send everything to this partition" },
    acks: {
      value: "durable|buffered|none",
      help: "what counts as sent",
      fallback: "durable",
    },
    compression: { value: "none|gzip|zstd", help: "codec of the batches", fallback: "none" },
    ...agentsOption,
  },
  notes: [
    "Each line is one record, byte for byte, without its newline; an empty line is an empty value.",
    `A line longer than ${limits.recordBytesMax} bytes is not sent, and the rest goes on.`,
    "The summary on standard error says how many records were sent and how many were not;",
    "the exit code is 0 only if every line was sent.",
  ],
};

/** Bytes of lines that are sent and not acknowledged; above it no more are read. */
const unacknowledgedBytesMax = 8_388_608;

/** Lines of one `sendBatch`: small enough that a slow input is sent as it comes, large enough to be quick. */
const linesPerBatchMax = 5_000;

/** Failures told one by one; the rest are counted. */
const failuresNamedMax = 10;

/** Failures that are about one record: the next ones may still be sent. */
const aboutOneRecord: readonly ErrorCode[] = [
  "RECORD_TOO_LARGE",
  "BATCH_TOO_LARGE",
  "TIMESTAMP_OUT_OF_BOUNDS",
  "INVALID_ARGUMENT",
];

export async function runProduce(args: Arguments, io: CliIo): Promise<number> {
  const name = topicName(args);
  const separator = args.value("key-separator");
  if (separator === "") throw args.mistake("--key-separator is empty: give at least one character");
  const partition = args.whole("partition", 0, limits.partitionsPerTopicMax - 1);
  const acks = args.oneOf("acks", ["durable", "buffered", "none"]);
  const compression = args.oneOf("compression", ["none", "gzip", "zstd"]);
  return withHouse(args, io, async (house) => {
    const topic = await house.admin.describeTopic(name);
    if (partition !== undefined) checkPartition(topic, partition);
    const producer = house.producer({ acks, compression });
    const sender = new LineSender(producer, io, name, {
      separator: separator === undefined ? undefined : new TextEncoder().encode(separator),
      partition,
    });
    await sender.sendAll(readLines(io.stdin(), limits.recordBytesMax));
    await producer.close();
    return sender.summary();
  });
}

interface LineSettings {
  readonly separator: Uint8Array | undefined;
  readonly partition: number | undefined;
}

/** The lines of one run, and what became of them. */
class LineSender {
  readonly #producer: Producer;
  readonly #io: CliIo;
  readonly #topic: string;
  readonly #settings: LineSettings;
  #sent = 0;
  #unsent = 0;
  #unacknowledgedBytes = 0;
  /** Set by a failure after which no line can be sent. */
  #fatal = false;
  #wake: () => void = () => {};

  constructor(producer: Producer, io: CliIo, topic: string, settings: LineSettings) {
    this.#producer = producer;
    this.#io = io;
    this.#topic = topic;
    this.#settings = settings;
  }

  async sendAll(chunks: AsyncIterable<readonly Line[]>): Promise<void> {
    const sending = new Set<Promise<void>>();
    for await (const lines of chunks) {
      for (let i = 0; i < lines.length; i += linesPerBatchMax) {
        const batch = this.#send(lines.slice(i, i + linesPerBatchMax));
        sending.add(batch);
        void batch.finally(() => sending.delete(batch));
      }
      while (this.#unacknowledgedBytes > unacknowledgedBytesMax && !this.#fatal) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (this.#fatal) break;
    }
    await Promise.all(sending);
  }

  /** One line for people, and the exit code. */
  summary(): number {
    const { stop, stderr } = this.#io;
    const parts = [`sent ${count(this.#sent)} to ${this.#topic}`];
    if (this.#unsent > 0) parts.push(`${count(this.#unsent)} unsent`);
    if (this.#fatal) parts.push("the rest of the input was not read");
    if (stop.aborted) parts.push("stopped by a signal before the end of the input");
    stderr(`streamhouse: ${parts.join("; ")}`);
    return this.#unsent === 0 && !this.#fatal && !stop.aborted ? 0 : 1;
  }

  async #send(lines: readonly Line[]): Promise<void> {
    const numbers: number[] = [];
    const records: ProducerRecord[] = [];
    let bytes = 0;
    for (const line of lines) {
      if (line.bytes === undefined) {
        this.#fail(
          line.number,
          `it has ${line.length} bytes and a record may have ${limits.recordBytesMax}`,
        );
        continue;
      }
      numbers.push(line.number);
      records.push(this.#record(line.bytes));
      bytes += line.bytes.length;
    }
    if (records.length === 0) return;
    this.#unacknowledgedBytes += bytes;
    try {
      const { count: sent } = await this.#producer.sendBatch({ topic: this.#topic, records });
      this.#sent += sent;
    } catch (error) {
      this.#failBatch(error, numbers);
    } finally {
      this.#unacknowledgedBytes -= bytes;
      this.#wake();
    }
  }

  #record(line: Uint8Array): ProducerRecord {
    const { separator, partition } = this.#settings;
    const at = separator === undefined ? -1 : indexOf(line, separator);
    if (separator === undefined || at < 0) return { value: line, partition };
    return { key: line.subarray(0, at), value: line.subarray(at + separator.length), partition };
  }

  #failBatch(error: unknown, numbers: readonly number[]): void {
    if (!(error instanceof BatchSendError)) {
      for (const number of numbers) this.#fail(number, messageOf(error));
      this.#fatal = true;
      return;
    }
    this.#sent += error.sent.count;
    for (const failed of error.failed) {
      for (const index of failed.indexes) {
        this.#fail(numbers[index] ?? 0, failed.error.message);
      }
      if (!aboutOneRecord.includes(failed.error.code)) this.#fatal = true;
    }
  }

  #fail(line: number, why: string): void {
    this.#unsent += 1;
    if (this.#unsent <= failuresNamedMax) {
      this.#io.stderr(`streamhouse: line ${line} was not sent: ${why}`);
    } else if (this.#unsent === failuresNamedMax + 1) {
      this.#io.stderr("streamhouse: more lines were not sent; they are only counted from here on");
    }
  }
}

/** Where `wanted` begins in `bytes`, or -1. */
function indexOf(bytes: Uint8Array, wanted: Uint8Array): number {
  const first = wanted[0] ?? 0;
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (wanted.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return -1;
}

function count(records: number): string {
  return `${records} ${records === 1 ? "record" : "records"}`;
}

function messageOf(error: unknown): string {
  if (StreamHouseError.is(error)) return error.message;
  return error instanceof Error ? error.message : String(error);
}
