/**
 * The producers and readers of a chaos run: programs on the three runtimes, each with its journal. A killed one is followed by
 * another: a producer's successor is a new sender, a consumer's goes on in the same group. A rereader is left alone: it remembers
 * what it was served before.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ProducerOptions } from "../../src/producer/options.ts";
import type { BoundProcess } from "../backends/bound-process.ts";
import type { RuntimeName } from "../runtimes.ts";
import type { GroupRead } from "./checker.ts";
import { parseReadJournal, parseSenderJournal, type SenderJournal } from "./journal.ts";
import { runtimes, startProgram } from "./program.ts";
import type { ConsumerSettings } from "./programs/consumer.ts";
import type { NewcomersSettings } from "./programs/newcomers.ts";
import type { ProducerSettings } from "./programs/producer.ts";
import type { RereaderSettings } from "./programs/rereader.ts";
import { until } from "./waiting.ts";

export interface ClientSettings {
  readonly agents: readonly string[];
  readonly topic: string;
  readonly folder: string;
  readonly seed: number;
  readonly rate: number;
  /** A program ended that nobody had killed, and not as it should. */
  readonly onCrash: (text: string) => void;
}

/** They differ, so that batches of every kind are met. The second gives up soon: its failures are the application's to bear. */
const producerKinds: readonly ProducerOptions[] = [
  { lingerMs: 5 },
  { lingerMs: 0, deliveryTimeoutMs: 8_000, requestTimeoutMs: 4_000 },
  { lingerMs: 20, compression: "gzip" },
];

/** A program that ends with this exit code wants to be started again, as by a supervisor. */
export const startAgainCode = 75;

/** A program that is started again under a new number. */
export abstract class Client {
  readonly settings: ClientSettings;
  readonly name: string;
  readonly runtime: RuntimeName;
  #process: BoundProcess | undefined;
  #endExpected = false;
  protected starts = 0;

  constructor(settings: ClientSettings, letter: string, index: number) {
    this.settings = settings;
    this.name = `${letter}${index + 1}`;
    this.runtime = runtimes[index % runtimes.length] as RuntimeName;
  }

  async start(): Promise<void> {
    const run = `${this.name}.${this.starts++}`;
    const { file, settings } = this.program(run);
    const log = join(this.settings.folder, `${this.name}.log`);
    this.#endExpected = false;
    const args = [JSON.stringify(settings)];
    const child = await startProgram(this.runtime, { file, args, log });
    this.#process = child;
    void child.end().then(() => {
      if (this.#endExpected || this.#process !== child) return;
      if (child.exitCode === startAgainCode) {
        void this.start();
        return;
      }
      this.settings.onCrash(`${this.name} ended by itself; its log is ${log}`);
    });
  }

  get running(): boolean {
    return this.#process?.ended === false;
  }

  async kill(): Promise<void> {
    this.#endExpected = true;
    if (this.#process?.ended === false) this.#process.signal("SIGKILL");
    await this.#process?.end();
  }

  /** Waits for its end. @throws Error if it does not come, or not with exit code 0 */
  async finished(signal: AbortSignal): Promise<void> {
    this.#endExpected = true;
    const child = this.#process;
    await until(`the end of ${this.name}`, () => child?.ended, { signal });
    if (child?.exitCode === 0) return;
    throw new Error(`${this.name} ended with exit code ${child?.exitCode}`);
  }

  protected signal(name: NodeJS.Signals): void {
    this.#endExpected = true;
    this.signalRunning(name);
  }

  /** One that does not end it. */
  protected signalRunning(name: NodeJS.Signals): void {
    if (this.#process?.ended === false) this.#process.signal(name);
  }

  close(): Promise<void> {
    this.#endExpected = true;
    return this.#process?.kill() ?? Promise.resolve();
  }

  protected journalOf(run: string): string {
    return join(this.settings.folder, `${run}.journal`);
  }

  protected readJournals<T>(parse: (run: string, text: string) => T): T[] {
    return Array.from({ length: this.starts }, (_, i) => {
      const run = `${this.name}.${i}`;
      return parse(run, readText(this.journalOf(run)));
    });
  }

  protected abstract program(run: string): { readonly file: string; readonly settings: object };
}

/** A program that sends until it is asked to settle. */
abstract class SendingClient extends Client {
  /** Its producers go on for longer than any fault lasts: none of their sends may fail. */
  abstract readonly patient: boolean;

  /** Asks it to settle what is open, and to end. */
  finish(signal: AbortSignal): Promise<void> {
    this.signal("SIGTERM");
    return this.finished(signal);
  }

  journals(): readonly SenderJournal[] {
    return this.readJournals(parseSenderJournal);
  }
}

export class ProducerClient extends SendingClient {
  readonly patient: boolean;
  readonly #options: ProducerOptions;

  constructor(settings: ClientSettings, index: number) {
    super(settings, "p", index);
    this.#options = producerKinds[index % producerKinds.length] as ProducerOptions;
    this.patient = this.#options.deliveryTimeoutMs === undefined;
  }

  protected program(run: string): { readonly file: string; readonly settings: ProducerSettings } {
    const { agents, rate, seed, topic } = this.settings;
    const own = { sender: run, journal: this.journalOf(run), options: this.#options };
    const settings = { agents, topic, seed, rate, ...own };
    return { file: "scripts/chaos/programs/producer.ts", settings };
  }
}

export class NewcomersClient extends SendingClient {
  readonly patient = true;

  constructor(settings: ClientSettings, index: number) {
    super(settings, "n", index);
  }

  protected program(run: string): { readonly file: string; readonly settings: NewcomersSettings } {
    const { agents, topic } = this.settings;
    const settings = { agents, topic, sender: run, journal: this.journalOf(run) };
    return { file: "scripts/chaos/programs/newcomers.ts", settings };
  }
}

/** A program that reads until it is told where the log ends. */
abstract class ReadingClient extends Client {
  /** Tells it where the log ends, and waits until it has read up to there. */
  finish(ends: readonly number[], signal: AbortSignal): Promise<void> {
    const half = `${this.endsFile}.half`;
    writeFileSync(half, JSON.stringify(ends));
    renameSync(half, this.endsFile);
    return this.finished(signal);
  }

  read(): GroupRead {
    return { group: this.name, journals: this.readJournals(parseReadJournal) };
  }

  protected get endsFile(): string {
    return join(this.settings.folder, `${this.name}.ends`);
  }
}

export class ConsumerClient extends ReadingClient {
  constructor(settings: ClientSettings, index: number) {
    super(settings, "c", index);
  }

  protected program(run: string): { readonly file: string; readonly settings: ConsumerSettings } {
    const { agents, topic } = this.settings;
    const own = { group: this.name, journal: this.journalOf(run), endsFile: this.endsFile };
    return { file: "scripts/chaos/programs/consumer.ts", settings: { agents, topic, ...own } };
  }
}

export class RereaderClient extends ReadingClient {
  readonly #partitions: number;

  constructor(settings: ClientSettings, index: number, partitions: number) {
    super(settings, "r", index);
    this.#partitions = partitions;
  }

  protected program(run: string): { readonly file: string; readonly settings: RereaderSettings } {
    const { agents, topic } = this.settings;
    const own = { name: this.name, journal: this.journalOf(run), endsFile: this.endsFile };
    const settings = { agents, topic, partitions: this.#partitions, ...own };
    return { file: "scripts/chaos/programs/rereader.ts", settings };
  }
}

/** Killed before it had begun: it said nothing. */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
