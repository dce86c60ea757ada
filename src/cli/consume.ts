/**
 * `streamhouse consume TOPIC --group G`: records to standard output, a line each. What the output has accepted is committed, however
 * the command ends; nothing else is.
 */
import type { Consumer } from "../consumer/consumer.ts";
import type { ConsumerOptions } from "../consumer/options.ts";
import { StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { ConsumerRecord } from "../core/record.ts";
import type { House } from "../house/house.ts";
import { type Arguments, type CommandSpec, quote } from "./arguments.ts";
import type { CliIo } from "./cli-io.ts";
import { agentsOption, withHouse } from "./house-options.ts";
import { groupName } from "./lag.ts";
import { formatRecord, type RecordFormat } from "./record-format.ts";
import { topicName } from "./topic.ts";

export const consumeSpec: CommandSpec = {
  name: "consume",
  summary: "Write a topic's records to standard output",
  positionals: ["TOPIC"],
  options: {
    group: {
      value: "G",
      help: "the consumer group whose commits are used and kept",
      required: true,
    },
    from: {
      value: "earliest|latest|OFFSET",
      help: "where to begin in partitions for which the group has no commit",
      fallback: "earliest",
    },
    "exit-at-end": { help: "stop at each partition's high watermark as it was at the start" },
    format: { value: "value|json", help: "the bare value, or a JSON object", fallback: "value" },
    max: { value: "N", help: "stop after N records" },
    ...agentsOption,
  },
  notes: [
    "What standard output accepted is committed for the group: at the end, at SIGTERM or SIGINT, and every second on the way.",
  ],
};

interface ConsumeSettings {
  readonly topic: string;
  readonly group: string;
  readonly format: RecordFormat;
  readonly max: number;
  readonly exitAtEnd: boolean;
  readonly start: Pick<ConsumerOptions, "offsetReset" | "startOffset">;
}

/** Between commits while records flow: after a crash no more than this is read twice. */
const commitEveryMs = 1_000;

/** How long one wait for records takes before the ends are looked at again. */
const pollMs = 500;

const recordsPerPollMax = 1_000;

export async function runConsume(args: Arguments, io: CliIo): Promise<number> {
  const settings: ConsumeSettings = {
    topic: topicName(args),
    group: groupName(args, args.value("group") ?? "", "--group"),
    format: args.oneOf("format", ["value", "json"]),
    max: args.whole("max", 1, limits.offsetMax) ?? Number.POSITIVE_INFINITY,
    exitAtEnd: args.has("exit-at-end"),
    start: startOf(args),
  };
  return withHouse(args, io, async (house) => {
    // Before anything is read, so that what is written meanwhile is not part of this run.
    const ends = await endsOf(house, settings);
    const consumer = house.consumer({
      group: settings.group,
      topics: [settings.topic],
      autoCommit: false,
      maxPollRecords: Math.min(settings.max, recordsPerPollMax),
      ...settings.start,
    });
    await new RecordWriter(consumer, io, settings, ends).run();
    if (io.stdout.failure !== undefined) {
      io.stderr(`streamhouse: standard output failed: ${io.stdout.failure.message}`);
      return 1;
    }
    return 0;
  });
}

function startOf(args: Arguments): ConsumeSettings["start"] {
  const from = args.value("from") ?? "";
  if (from === "earliest" || from === "latest") return { offsetReset: from };
  const offset = /^\d{1,16}$/.test(from) ? Number(from) : Number.NaN;
  if (offset <= limits.offsetMax) return { offsetReset: "error", startOffset: offset };
  throw args.mistake(`--from is ${quote(from)}: use earliest, latest or an offset`);
}

/** High watermarks by partition. */
async function endsOf(
  house: House,
  settings: ConsumeSettings,
): Promise<ReadonlyMap<number, number>> {
  // Also without --exit-at-end: an unknown topic is told at once.
  const offsets = await house.admin.offsets(settings.topic, "latest");
  return new Map(offsets.map(({ partition, offset }) => [partition, offset]));
}

/** How long a commit may take once it is time to stop. */
const commitAfterStopMs = 4_000;

class RecordWriter {
  readonly #consumer: Consumer;
  readonly #io: CliIo;
  readonly #settings: ConsumeSettings;
  /** High watermarks when this run began. */
  readonly #ends: ReadonlyMap<number, number>;
  /** Next offsets after what was accepted, by partition; those not committed yet. */
  readonly #uncommitted = new Map<number, number>();
  readonly #started = new Set<number>();
  #accepted = 0;
  #gaveUp = false;
  #committedAt = performance.now();

  constructor(
    consumer: Consumer,
    io: CliIo,
    settings: ConsumeSettings,
    ends: ReadonlyMap<number, number>,
  ) {
    this.#consumer = consumer;
    this.#io = io;
    this.#settings = settings;
    this.#ends = ends;
  }

  /** Ends at the end, the maximum, a signal, or when nobody reads the output any more; then commits. */
  async run(): Promise<void> {
    try {
      while (!this.#isDone()) {
        const polled = await this.#poll();
        this.#noteStarts(polled);
        await this.#write(polled);
        if (performance.now() - this.#committedAt >= commitEveryMs) await this.#commit();
      }
    } catch (error) {
      // What was accepted before the failure is finished all the same.
      await this.#commit().catch(() => {});
      throw error;
    }
    await this.#commit();
  }

  #isDone(): boolean {
    const { stop, stdout } = this.#io;
    if (stop.aborted || stdout.closed || this.#accepted >= this.#settings.max) return true;
    if (!this.#settings.exitAtEnd) return false;
    for (const [partition, end] of this.#ends) if (!this.#isAtEnd(partition, end)) return false;
    return true;
  }

  #isAtEnd(partition: number, end: number): boolean {
    const position = this.#consumer.position(this.#settings.topic, partition);
    return end === 0 || (position !== undefined && position >= end);
  }

  async #poll(): Promise<readonly ConsumerRecord[]> {
    try {
      return await this.#consumer.poll(pollMs, { signal: this.#io.stop });
    } catch (error) {
      if (this.#io.stop.aborted && StreamHouseError.is(error) && error.code === "ABORTED")
        return [];
      throw error;
    }
  }

  /**
   * Where this run began is committed for every partition, also for those without a record: their lag is known then, and what is
   * written to them between two runs is not missed.
   */
  #noteStarts(polled: readonly ConsumerRecord[]): void {
    const { topic } = this.#settings;
    for (const { partition } of this.#consumer.assignment()) {
      if (this.#started.has(partition)) continue;
      const first = polled.find((record) => record.partition === partition);
      const start = first?.offset ?? this.#consumer.position(topic, partition);
      if (start === undefined) continue;
      this.#started.add(partition);
      // One that nobody has written to yet, from --from, is no place to have read up to.
      if (start <= (this.#ends.get(partition) ?? 0)) this.#uncommitted.set(partition, start);
    }
  }

  async #write(polled: readonly ConsumerRecord[]): Promise<void> {
    const { exitAtEnd } = this.#settings;
    const records = polled
      .filter(({ partition, offset }) => !exitAtEnd || offset < (this.#ends.get(partition) ?? 0))
      .slice(0, this.#settings.max - this.#accepted);
    if (records.length === 0) return;
    const lines = records.map((record) => formatRecord(record, this.#settings.format));
    const accepted = await this.#io.stdout.write(lines, this.#io.stop);
    this.#accepted += accepted;
    for (const { partition, offset } of records.slice(0, accepted)) {
      this.#uncommitted.set(partition, offset + 1);
    }
  }

  async #commit(): Promise<void> {
    const { topic } = this.#settings;
    const offsets = [...this.#uncommitted].map(([partition, offset]) => ({
      topic,
      partition,
      offset,
    }));
    if (offsets.length > 0 && !this.#gaveUp) {
      await this.#untilStopped(this.#consumer.commit(offsets));
    }
    this.#uncommitted.clear();
    this.#committedAt = performance.now();
  }

  /** After the signal a commit gets a few seconds more: whoever presses Ctrl-C does not wait for agents that are gone. */
  async #untilStopped(commit: Promise<void>): Promise<void> {
    const { stop } = this.#io;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let onStop = () => {};
    const tooLate = new Promise<never>((_, reject) => {
      onStop = () => {
        timer = setTimeout(() => {
          this.#gaveUp = true;
          reject(notCommitted());
        }, commitAfterStopMs);
      };
    });
    if (stop.aborted) onStop();
    else stop.addEventListener("abort", onStop, { once: true });
    try {
      await Promise.race([commit, tooLate]);
    } finally {
      clearTimeout(timer);
      stop.removeEventListener("abort", onStop);
      // If it was given up, its failure is told already.
      commit.catch(() => {});
    }
  }
}

function notCommitted(): StreamHouseError {
  return new StreamHouseError({
    code: "DEADLINE_EXCEEDED",
    kind: "unavailable",
    outcome: "unknown",
    message:
      `could not commit within ${commitAfterStopMs / 1_000} s after the signal: ` +
      "no agent answered; what was written last will be read again by the next run of the group",
  });
}
