/**
 * A producer of a chaos run, under any of the three runtimes: sends records at a steady pace, journals what it sends before it does and
 * what became of it afterwards, and sends again what failed, as an application would. SIGTERM lets it finish. Started by `clients.ts`
 * with its settings as JSON.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import {
  connect,
  type Producer,
  type ProducerOptions,
  StreamHouseError,
} from "../../../src/index.ts";
import { onStopSignal } from "../../../src/serve/signals.ts";
import { journalLine } from "../journal.ts";
import { attemptsMax, contentOf, keyOf } from "../record-content.ts";
import { createSeeded } from "../seeded.ts";

export interface ProducerSettings {
  readonly agents: readonly string[];
  readonly topic: string;
  /** Names this start of the program; in each of its records. */
  readonly sender: string;
  readonly journal: string;
  readonly seed: number;
  /** Records a second, on average. */
  readonly rate: number;
  readonly options: ProducerOptions;
}

const TICK_MS = 20;
/** Records that are sent and not settled; more are not begun. */
const openMax = 5_000;

class Sending {
  readonly #settings: ProducerSettings;
  readonly #producer: Producer;
  readonly #file: number;
  #lines = "";
  #sequence = 0;
  #open = 0;

  constructor(settings: ProducerSettings, producer: Producer) {
    this.#settings = settings;
    this.#producer = producer;
    this.#file = openSync(settings.journal, "a");
  }

  async run(stopping: AbortSignal): Promise<void> {
    const { rate, seed, sender } = this.#settings;
    const random = createSeeded(seed, sender);
    const most = Math.max(1, Math.round((2 * rate * TICK_MS) / 1_000));
    while (!stopping.aborted) {
      if (this.#open < openMax) this.#sendFirst(random.between(0, most));
      await wait(TICK_MS);
      this.#write();
    }
    // Also what failed and is sent once more.
    while (this.#open > 0) {
      await wait(TICK_MS);
      this.#write();
    }
  }

  /** Nothing is pending: the journal is complete. */
  end(): void {
    this.#lines += journalLine.ended;
    this.#write();
    closeSync(this.#file);
  }

  #sendFirst(count: number): void {
    if (count === 0) return;
    const from = this.#sequence;
    this.#sequence += count;
    this.#announce(from, this.#sequence, 0);
    for (let sequence = from; sequence < this.#sequence; sequence++) {
      this.#open += 1;
      void this.#send(sequence, 0);
    }
  }

  /** On the disk's side of the kernel before anything is sent: a killed program leaves it there. */
  #announce(from: number, to: number, attempt: number): void {
    this.#lines += journalLine.sending(from, to, attempt);
    this.#write();
  }

  async #send(sequence: number, attempt: number): Promise<void> {
    const { sender, topic } = this.#settings;
    try {
      const value = contentOf({ sender, sequence, attempt });
      const sent = await this.#producer.send({ topic, key: keyOf(sequence), value });
      const { offset = -1, partition } = sent;
      this.#lines += journalLine.acknowledged(sequence, attempt, partition, offset);
      this.#open -= 1;
    } catch (error) {
      await this.#failed(sequence, attempt, error);
    }
  }

  async #failed(sequence: number, attempt: number, error: unknown): Promise<void> {
    const { code, outcome } = StreamHouseError.is(error)
      ? error
      : { code: String(error).slice(0, 60), outcome: "unknown" as const };
    this.#lines += journalLine.failed(sequence, attempt, outcome, code.replace(/\s/g, "_"));
    console.error(`${sequence}:${attempt} failed: ${code}, outcome ${outcome}: ${String(error)}`);
    if (attempt + 1 >= attemptsMax) {
      this.#open -= 1;
      return;
    }
    await wait(200);
    this.#announce(sequence, sequence + 1, attempt + 1);
    await this.#send(sequence, attempt + 1);
  }

  #write(): void {
    if (this.#lines === "") return;
    writeSync(this.#file, this.#lines);
    this.#lines = "";
  }
}

const settings = JSON.parse(process.argv[2] ?? "{}") as ProducerSettings;
const stop = new AbortController();
const forgetSignals = onStopSignal(() => stop.abort());
const logger = {
  debug: () => {},
  info: () => {},
  warn: (message: string, fields?: object) => console.error(message, JSON.stringify(fields)),
  error: (message: string, fields?: object) => console.error(message, JSON.stringify(fields)),
};
const house = await connect({ agents: settings.agents, clientId: settings.sender, logger });
const producer = house.producer(settings.options);
const sending = new Sending(settings, producer);
await sending.run(stop.signal);
await producer.flush();
await house.close();
sending.end();
forgetSignals();
