/**
 * What a consumer measures, as cells that are resolved once for each topic and partition. The conventions' own metrics are counted
 * beside ours. Lag has its own room, `lag-gauges.ts`; when records were delivered is the business of `delivery-meter.ts`.
 */
import type { ErrorCode } from "../core/errors.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type {
  AttributeValues,
  CounterCell,
  GaugeCell,
  HistogramCell,
  MetricRegistry,
  SampledIn,
  UpDownCell,
} from "../telemetry/cells.ts";
import type { InstrumentDescriptor } from "../telemetry/instrument.ts";
import * as semconv from "../telemetry/semconv.ts";
import { errorTypeOf } from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";

/** What is measured where records are handed to the application. */
export interface DeliveryCells {
  readonly recordsConsumed: CounterCell;
  readonly bytesConsumed: CounterCell;
  /** The conventions' count of the same. */
  readonly consumedMessages: CounterCell;
  readonly endToEndLatency: HistogramCell;
  readonly recordAge: HistogramCell;
  readonly recordAgeNegative: CounterCell;
}

/** Cells of one partition; its gauges are there for as long as it is assigned. */
export interface PartitionCells extends DeliveryCells {
  readonly currentOffset: GaugeCell;
  /** Made at the first commit: a group that never committed has no series. */
  setCommitted(offset: number): void;
  /** Takes the gauges out of every reader at the next collection. */
  release(): void;
}

/**
 * Why a membership ended without having been left: no heartbeat was answered for a session's length, the group said so, or the
 * application did not read on for `maxPollIntervalMs`.
 */
export type MembershipLoss = "session_timeout" | "fenced" | "max_poll_interval";

/** How an operation went, for the conventions' durations. */
export interface OperationEnd {
  readonly seconds: number;
  /** The one topic that it was about, if it was one. */
  readonly topic: string | undefined;
  /** Its own span, if there is one. */
  readonly span: SampledIn | undefined;
  /** What it threw; undefined if it succeeded. */
  readonly error: unknown;
}

/** Classes of errors that an application's handlers throw, as label values; more of them are `_OTHER`. */
const errorTypesMax = 50;

export class ConsumerInstruments {
  readonly #registry: MetricRegistry;
  readonly #partitionLabels: boolean;
  /** The label of our own family, empty without a group. */
  readonly #group: string;
  readonly #name: string | undefined;
  readonly pollDuration: HistogramCell;
  readonly fetchDuration: HistogramCell;
  readonly #commitDuration: HistogramCell;
  readonly #rebalances: CounterCell;
  readonly #rebalanceDuration: HistogramCell;
  readonly #bufferedRecords: UpDownCell;
  readonly #bufferedBytes: UpDownCell;
  readonly #retries = new Map<string, CounterCell>();
  readonly #durations = new Map<string, HistogramCell>();
  readonly #errorTypes = new Set<string>();

  constructor(
    telemetry: Pick<Telemetry, "metrics" | "partitionLabels">,
    group: string | undefined,
  ) {
    const { metrics } = telemetry;
    this.#registry = metrics;
    this.#partitionLabels = telemetry.partitionLabels;
    this.#name = group;
    this.#group = group ?? "";
    const labels = { group_id: this.#group };
    this.pollDuration = metrics.histogram(catalogue.pollDuration, labels);
    this.fetchDuration = metrics.histogram(catalogue.fetchDuration, labels);
    this.#commitDuration = metrics.histogram(catalogue.commitDuration, labels);
    this.#rebalances = metrics.counter(catalogue.rebalances, labels);
    this.#rebalanceDuration = metrics.histogram(catalogue.rebalanceDuration, labels);
    this.#bufferedRecords = metrics.upDown(catalogue.bufferedRecords, labels);
    this.#bufferedBytes = metrics.upDown(catalogue.bufferedBytes, labels);
  }

  /** A request is sent again because of an error with this code. */
  retry(code: ErrorCode): void {
    let cell = this.#retries.get(code);
    if (cell === undefined) {
      cell = this.#registry.counter(catalogue.retries, { "error.type": code });
      this.#retries.set(code, cell);
    }
    cell.add(1);
  }

  /** One `poll()`, well or badly. */
  polled(end: OperationEnd): void {
    this.pollDuration.recordIn(end.seconds, end.span);
    this.#operation("receive", end);
  }

  /** One commit of offsets with all its tries, well or badly. */
  committed(end: OperationEnd): void {
    this.#commitDuration.recordIn(end.seconds, end.span);
    this.#operation("commit", end);
  }

  /** The application's work on a record, or on some. */
  processed(end: OperationEnd): void {
    this.#duration(catalogue.processDuration, "process", end).recordIn(end.seconds, end.span);
  }

  /** The assignment changed. */
  rebalanced(seconds: number): void {
    this.#rebalances.add(1);
    this.#rebalanceDuration.record(seconds);
  }

  /** A membership ended without having been left. */
  membershipLost(reason: MembershipLoss): void {
    this.#registry.counter(catalogue.membershipsLost, { group_id: this.#group, reason }).add(1);
  }

  /** What was fetched and not handed out, now. Before each collection. */
  setBuffered(records: number, bytes: number): void {
    this.#bufferedRecords.add(records - this.#bufferedRecords.value);
    this.#bufferedBytes.add(bytes - this.#bufferedBytes.value);
  }

  partition(topic: string, partition: number): PartitionCells {
    const registry = this.#registry;
    const labels = { topic, group_id: this.#group };
    const own = { ...labels, partition };
    const gauges = [catalogue.currentOffset, catalogue.lastCommittedOffset];
    let released = false;
    return {
      recordsConsumed: registry.counter(catalogue.recordsConsumed, own),
      bytesConsumed: registry.counter(catalogue.bytesConsumed, labels),
      consumedMessages: registry.counter(
        catalogue.consumedMessages,
        this.#conventional("receive", topic, partition),
      ),
      endToEndLatency: registry.histogram(catalogue.endToEndLatency, labels),
      recordAge: registry.histogram(catalogue.recordAge, labels),
      recordAgeNegative: registry.counter(catalogue.recordAgeNegative, labels),
      currentOffset: registry.gauge(catalogue.currentOffset, own),
      setCommitted(offset) {
        if (!released) registry.gauge(catalogue.lastCommittedOffset, own).set(offset);
      },
      release() {
        released = true;
        for (const gauge of gauges) registry.release(gauge, own);
      },
    };
  }

  #operation(name: string, end: OperationEnd): void {
    this.#duration(catalogue.operationDuration, name, end).recordIn(end.seconds, end.span);
  }

  #duration(descriptor: InstrumentDescriptor, name: string, end: OperationEnd): HistogramCell {
    const { topic, error } = end;
    const type = error === undefined ? undefined : this.errorType(error);
    const key = `${name} ${topic ?? ""} ${type ?? ""}`;
    let cell = this.#durations.get(key);
    if (cell === undefined) {
      cell = this.#registry.histogram(descriptor, {
        ...this.#conventional(name, topic),
        ...(type !== undefined && { [semconv.ERROR_TYPE]: type }),
      });
      this.#durations.set(key, cell);
    }
    return cell;
  }

  /** `error.type` of what was thrown: of the application's classes only so many have a name of their own. */
  errorType(error: unknown): string {
    const type = errorTypeOf(error);
    if (this.#errorTypes.has(type)) return type;
    if (this.#errorTypes.size >= errorTypesMax) return "_OTHER";
    this.#errorTypes.add(type);
    return type;
  }

  #conventional(name: string, topic: string | undefined, partition?: number): AttributeValues {
    return {
      [semconv.MESSAGING_SYSTEM]: semconv.MESSAGING_SYSTEM_VALUE,
      [semconv.MESSAGING_OPERATION_NAME]: name,
      ...(topic !== undefined && { [semconv.MESSAGING_DESTINATION_NAME]: topic }),
      ...(this.#name !== undefined && { [semconv.MESSAGING_CONSUMER_GROUP_NAME]: this.#name }),
      ...(partition !== undefined &&
        this.#partitionLabels && {
          [semconv.MESSAGING_DESTINATION_PARTITION_ID]: String(partition),
        }),
    };
  }
}
