/**
 * What a producer measures, as cells that are resolved once for each topic. Adding to a cell is the only thing
 * that happens on the way of a record. The conventions' own metrics are counted beside ours, a batch at a time.
 */
import { catalogue, type InstrumentDescriptor } from "../telemetry/catalogue.ts";
import type {
  AttributeValues,
  CounterCell,
  HistogramCell,
  MetricRegistry,
  SampledIn,
  UpDownCell,
} from "../telemetry/cells.ts";
import * as semconv from "../telemetry/semconv.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";

/** Label of topics that do not exist: names that only a client ever used must not become label values. */
const OTHER_TOPIC = "_OTHER";

/** What the cells depend on. */
export type ProducerTelemetry = Pick<Telemetry, "metrics" | "partitionLabels" | "sendDuration">;

export class ProducerInstruments {
  readonly #telemetry: ProducerTelemetry;
  readonly #retries = new Map<string, CounterCell>();
  #unknownTopic: TopicInstruments | undefined;

  constructor(telemetry: ProducerTelemetry) {
    this.#telemetry = telemetry;
  }

  /** For sends whose topic is not known (yet): has only what is ever counted there. */
  get unknownTopic(): TopicInstruments {
    this.#unknownTopic ??= new TopicInstruments(this.#telemetry, OTHER_TOPIC);
    return this.#unknownTopic;
  }

  /** Only for a topic that the cluster knows. */
  topic(name: string): TopicInstruments {
    const instruments = new TopicInstruments(this.#telemetry, name);
    instruments.begin();
    return instruments;
  }

  /** A request is sent again because of an error with this code: a batch, or a question. */
  retried(code: string): void {
    let cell = this.#retries.get(code);
    if (cell === undefined) {
      cell = this.#telemetry.metrics.counter(catalogue.retries, { "error.type": code });
      this.#retries.set(code, cell);
    }
    cell.add(1);
  }
}

/** How a batch that was handed to the network ended. */
export interface BatchEnd {
  readonly partition: number;
  readonly records: number;
  /** From the last hand-over to the network until the answer, or until it was given up. */
  readonly seconds: number;
  /** Of the last request that it went in. */
  readonly span: SampledIn | undefined;
  /** Our code; undefined if it was acknowledged. */
  readonly code?: string | undefined;
}

/** The conventions' cells of one outcome. */
interface OutcomeCells {
  readonly messages: CounterCell;
  readonly duration: HistogramCell;
}

export class TopicInstruments {
  readonly #registry: MetricRegistry;
  readonly #partitionLabels: boolean;
  /** What a sample of the send duration is: each `send()`, or each batch. */
  readonly perBatch: boolean;
  readonly #topic: string;
  readonly #errors = new Map<string, CounterCell>();
  readonly #recordsSent: CounterCell[] = [];
  /** Of batches that were acknowledged; by partition, where that is a label. */
  readonly #acknowledged: OutcomeCells[] = [];
  #bytesSent: CounterCell | undefined;
  #sendDuration: HistogramCell | undefined;
  #batchFlushDuration: HistogramCell | undefined;
  #batchSizeRecords: HistogramCell | undefined;
  #batchSizeBytes: HistogramCell | undefined;
  #pendingRecords: UpDownCell | undefined;

  constructor(telemetry: ProducerTelemetry, topic: string) {
    this.#registry = telemetry.metrics;
    this.#partitionLabels = telemetry.partitionLabels;
    this.perBatch = telemetry.sendDuration === "per-batch";
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

  /** From the call of send() until it settled. Not with `perBatch`: the batch records its own. */
  get sendDuration(): HistogramCell {
    this.#sendDuration ??= this.#histogram(catalogue.sendDuration);
    return this.#sendDuration;
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

  /** A batch that was handed to the network has ended, well or badly: one sample, by our names and by the conventions'. */
  batchEnded(end: BatchEnd): void {
    this.#batchFlushDuration ??= this.#histogram(catalogue.batchFlushDuration);
    this.#batchFlushDuration.recordIn(end.seconds, end.span);
    const cells = this.#outcome(end);
    cells.messages.add(end.records);
    cells.duration.recordIn(end.seconds, end.span);
  }

  #outcome({ partition, code }: BatchEnd): OutcomeCells {
    if (code !== undefined) return this.#outcomeCells(partition, code);
    const place = this.#partitionLabels ? partition : 0;
    let cells = this.#acknowledged[place];
    if (cells === undefined) {
      cells = this.#outcomeCells(partition, undefined);
      this.#acknowledged[place] = cells;
    }
    return cells;
  }

  #outcomeCells(partition: number, code: string | undefined): OutcomeCells {
    const labels: AttributeValues = {
      [semconv.MESSAGING_SYSTEM]: semconv.MESSAGING_SYSTEM_VALUE,
      [semconv.MESSAGING_OPERATION_NAME]: "send",
      [semconv.MESSAGING_DESTINATION_NAME]: this.#topic,
      ...(this.#partitionLabels && {
        [semconv.MESSAGING_DESTINATION_PARTITION_ID]: String(partition),
      }),
      ...(code !== undefined && { [semconv.ERROR_TYPE]: code }),
    };
    return {
      messages: this.#registry.counter(catalogue.sentMessages, labels),
      duration: this.#registry.histogram(catalogue.operationDuration, labels),
    };
  }
}
