/**
 * One request and its answer: makes it from batches, hands it to an agent's channel, and deals out what came back. Called by the
 * sender, which decided what goes into it.
 */
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import { Acks, type ProduceResponse } from "../rpc/gen/streamhouse/v1/producer.ts";
import type { Answers } from "./answers.ts";
import { batchAtFault } from "./delivery.ts";
import type { Cargo, Flight, Lane } from "./lane.ts";
import type { ResolvedProducerOptions } from "./options.ts";
import type { Partition } from "./topic-state.ts";
import type { ProducerTracing, TracedBatch } from "./tracing.ts";

const acksOnWire = {
  durable: Acks.ACKS_DURABLE,
  buffered: Acks.ACKS_BUFFERED,
  none: Acks.ACKS_NONE,
} as const;

export interface RequestComponents {
  readonly answers: Answers;
  readonly tracing: ProducerTracing;
  /** Aborts when the producer ends. */
  readonly ended: AbortSignal;
}

export class Requests {
  readonly #options: ResolvedProducerOptions;
  readonly #components: RequestComponents;
  /** Called for each partition of a request whose answer came. */
  readonly #offer: (partition: Partition) => void;

  constructor(
    options: ResolvedProducerOptions,
    components: RequestComponents,
    offer: (partition: Partition) => void,
  ) {
    this.#options = options;
    this.#components = components;
    this.#offer = offer;
  }

  /** Sends; returns at once. */
  send(lane: Lane, cargo: readonly Cargo[], now: number): void {
    const { tracing } = this.#components;
    const controller = new AbortController();
    const traced = cargo.map(described);
    const trace = tracing.request(traced, lane.connection.address);
    const flight: Flight = { lane, cargo, controller, trace, traced };
    lane.flights.add(flight);
    let deadlineAt = now;
    const batches = cargo.map(({ partition, batch }) => {
      partition.sentTo = lane.connection;
      batch.requestSpan = trace?.context;
      deadlineAt = Math.max(deadlineAt, batch.deadlineAt);
      return {
        topic: partition.topic.name,
        topicId: partition.topic.known?.id ?? "",
        partition: partition.index,
        records: batch.bytes as Uint8Array,
      };
    });
    const leftMs = Math.max(1, Math.ceil(deadlineAt - now));
    const timeoutMs = Math.min(this.#options.requestTimeoutMs, leftMs);
    const acks = acksOnWire[this.#options.acks];
    const { traceparent, tracestate } = trace ?? {};
    lane
      .produce(
        { acks, batches, timeoutMs },
        { timeoutMs, signal: controller.signal, traceparent, tracestate },
      )
      .then(
        (response) => this.#answered(flight, response),
        (error: unknown) => this.#refused(flight, asStreamHouseError(error, "Produce")),
      );
  }

  #answered(flight: Flight, response: ProduceResponse): void {
    const { results } = response;
    if (results.length !== flight.cargo.length) {
      const text = `${flight.lane.connection.address} answered ${results.length} results for ${flight.cargo.length} batches`;
      this.#refused(flight, internal(text));
      return;
    }
    flight.trace?.answered(results, flight.traced);
    if (!this.#landed(flight)) return;
    flight.cargo.forEach(({ partition, batch }, i) => {
      const result = results[i];
      if (result !== undefined) this.#components.answers.answered(partition, batch, result);
      this.#offer(partition);
    });
  }

  #refused(flight: Flight, error: StreamHouseError): void {
    flight.trace?.failed(error);
    if (!this.#landed(flight)) return;
    const { answers } = this.#components;
    const culprit = this.#culpritOf(flight, error);
    flight.cargo.forEach(({ partition, batch }, i) => {
      const blameless = culprit !== undefined && culprit !== i;
      answers.attemptFailed(partition, batch, error, blameless);
      this.#offer(partition);
    });
  }

  /**
   * A request of several batches is refused because of one of them: that one is at fault, the others go again. If it is not said
   * which, each goes alone (-1: none of them is to blame yet). Undefined: the refusal concerns them all.
   */
  #culpritOf(flight: Flight, error: StreamHouseError): number | undefined {
    if (flight.cargo.length === 1 || error.outcome === "unknown") return undefined;
    const named = batchAtFault(error);
    if (named !== undefined && named < flight.cargo.length) return named;
    if (error.kind !== "invalid" && error.kind !== "corrupt") return undefined;
    for (const { batch } of flight.cargo) batch.alone = true;
    return -1;
  }

  /** False if the flight was abandoned: its batches have been dealt with. */
  #landed(flight: Flight): boolean {
    return flight.lane.flights.delete(flight) && !this.#components.ended.aborted;
  }

  /** The producer ends: nobody waits for an answer any more. */
  abandonAll(lanes: readonly Lane[]): void {
    for (const { controller, trace } of lanes.flatMap((lane) => [...lane.flights])) {
      trace?.abandoned("unknown", "the producer was closed");
      controller.abort();
    }
  }

  /** Requests of which every batch has met its deadline are not waited for. */
  abandonLate(lanes: Iterable<Lane>): void {
    for (const lane of lanes) {
      for (const flight of lane.flights) {
        if (flight.cargo.some(({ batch }) => batch.phase !== "done")) continue;
        lane.flights.delete(flight);
        flight.controller.abort();
        flight.trace?.abandoned("unknown", "its records met their delivery deadline");
        for (const { partition, batch } of flight.cargo) {
          this.#components.answers.land(partition, batch);
          this.#offer(partition);
        }
      }
    }
  }
}

function described({ partition, batch }: Cargo): TracedBatch {
  const { recordCount, sizeBytes, lineage, attempts, lastError } = batch;
  const { index, topic } = partition;
  return {
    topic: topic.name,
    partition: index,
    ...{ recordCount, sizeBytes, lineage, attempts, lastError },
  };
}

function internal(message: string): StreamHouseError {
  return new StreamHouseError({ code: "INTERNAL", kind: "internal", outcome: "unknown", message });
}
