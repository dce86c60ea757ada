/**
 * What a producer measures, as cells that are resolved once for each topic. Adding to a cell is the only thing
 * that happens on the way of a record.
 */
import { catalogue } from "../telemetry/catalogue.ts";
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

  /** For sends whose topic is not known (yet). */
  get unknownTopic(): TopicInstruments {
    this.#unknownTopic ??= new TopicInstruments(this.#registry, OTHER_TOPIC);
    return this.#unknownTopic;
  }

  /** Only for a topic that the cluster knows. */
  topic(name: string): TopicInstruments {
    return new TopicInstruments(this.#registry, name);
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
  readonly bytesSent: CounterCell;
  readonly sendDuration: HistogramCell;
  readonly batchFlushDuration: HistogramCell;
  readonly batchSizeRecords: HistogramCell;
  readonly batchSizeBytes: HistogramCell;
  readonly pendingRecords: UpDownCell;

  constructor(registry: MetricRegistry, topic: string) {
    const labels = { topic };
    this.#registry = registry;
    this.#topic = topic;
    this.bytesSent = registry.counter(catalogue.bytesSent, labels);
    this.sendDuration = registry.histogram(catalogue.sendDuration, labels);
    this.batchFlushDuration = registry.histogram(catalogue.batchFlushDuration, labels);
    this.batchSizeRecords = registry.histogram(catalogue.batchSizeRecords, labels);
    this.batchSizeBytes = registry.histogram(catalogue.batchSizeBytes, labels);
    this.pendingRecords = registry.upDown(catalogue.pendingRecords, labels);
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
