/**
 * What a producer measures, as cells that are resolved once for each topic. Adding to a cell is the only thing
 * that happens on the way of a record.
 */
import { catalogue, type InstrumentDescriptor } from "../telemetry/catalogue.ts";
import type { CounterCell, HistogramCell, MetricRegistry, UpDownCell } from "../telemetry/cells.ts";

/** Label of topics that do not exist: names that only a client ever used must not become label values. */
const OTHER_TOPIC = "_OTHER";

export class ProducerInstruments {
  readonly #registry: MetricRegistry;
  readonly #retries = new Map<string, CounterCell>();
  #unknownTopic: TopicInstruments | undefined;

  constructor(registry: MetricRegistry) {
    this.#registry = registry;
  }

  /** For sends whose topic is not known (yet): has only what is ever counted there. */
  get unknownTopic(): TopicInstruments {
    this.#unknownTopic ??= new TopicInstruments(this.#registry, OTHER_TOPIC);
    return this.#unknownTopic;
  }

  /** Only for a topic that the cluster knows. */
  topic(name: string): TopicInstruments {
    const instruments = new TopicInstruments(this.#registry, name);
    instruments.begin();
    return instruments;
  }

  /** A batch is sent again because of an error with this code. */
  retried(code: string): void {
    let cell = this.#retries.get(code);
    if (cell === undefined) {
      cell = this.#registry.counter(catalogue.retries, { "error.type": code });
      this.#retries.set(code, cell);
    }
    cell.add(1);
  }
}

export class TopicInstruments {
  readonly #registry: MetricRegistry;
  readonly #topic: string;
  readonly #errors = new Map<string, CounterCell>();
  readonly #recordsSent: CounterCell[] = [];
  #bytesSent: CounterCell | undefined;
  #sendDuration: HistogramCell | undefined;
  #batchFlushDuration: HistogramCell | undefined;
  #batchSizeRecords: HistogramCell | undefined;
  #batchSizeBytes: HistogramCell | undefined;
  #pendingRecords: UpDownCell | undefined;

  constructor(registry: MetricRegistry, topic: string) {
    this.#registry = registry;
    this.#topic = topic;
  }

  /** Counters are there from the first moment, at zero: a rate then sees the first increase too. */
  begin(): void {
    this.bytesSent.add(0);
    this.sent(0, 0);
  }

  get bytesSent(): CounterCell {
    this.#bytesSent ??= this.#registry.counter(catalogue.bytesSent, { topic: this.#topic });
    return this.#bytesSent;
  }

  /** From the call of send() until it settled. */
  get sendDuration(): HistogramCell {
    this.#sendDuration ??= this.#histogram(catalogue.sendDuration);
    return this.#sendDuration;
  }

  get batchFlushDuration(): HistogramCell {
    this.#batchFlushDuration ??= this.#histogram(catalogue.batchFlushDuration);
    return this.#batchFlushDuration;
  }

  get batchSizeRecords(): HistogramCell {
    this.#batchSizeRecords ??= this.#histogram(catalogue.batchSizeRecords);
    return this.#batchSizeRecords;
  }

  get batchSizeBytes(): HistogramCell {
    this.#batchSizeBytes ??= this.#histogram(catalogue.batchSizeBytes);
    return this.#batchSizeBytes;
  }

  get pendingRecords(): UpDownCell {
    this.#pendingRecords ??= this.#registry.upDown(catalogue.pendingRecords, {
      topic: this.#topic,
    });
    return this.#pendingRecords;
  }

  #histogram(descriptor: InstrumentDescriptor): HistogramCell {
    return this.#registry.histogram(descriptor, { topic: this.#topic });
  }

  /** Records acknowledged. */
  sent(partition: number, records: number): void {
    let cell = this.#recordsSent[partition];
    if (cell === undefined) {
      cell = this.#registry.counter(catalogue.recordsSent, { topic: this.#topic, partition });
      this.#recordsSent[partition] = cell;
    }
    cell.add(records);
  }

  /** Records that failed for good. */
  failed(code: string, records: number): void {
    let cell = this.#errors.get(code);
    if (cell === undefined) {
      cell = this.#registry.counter(catalogue.sendErrors, {
        topic: this.#topic,
        "error.type": code,
      });
      this.#errors.set(code, cell);
    }
    cell.add(records);
  }
}
