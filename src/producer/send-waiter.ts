/** One `send()` that waits in line, with the record that it will put into a batch. Made by the producer's door. */
import type { StreamHouseError } from "../core/errors.ts";
import type { ProducerRecord } from "../core/record.ts";
import { type Accumulator, STALE } from "./accumulator.ts";
import type { SendEntry } from "./entry.ts";
import type { Progress, TopicState, Waiter } from "./topic-state.ts";

/** What a send is made of, wherever it waits. */
export interface PendingSend {
  readonly topic: TopicState;
  readonly record: ProducerRecord;
  readonly entry: SendEntry;
  readonly generation: number;
}

export class SendWaiter implements Waiter {
  readonly topic: TopicState;
  readonly generation: number;
  readonly deadlineAt: number;
  waiting = false;
  readonly #send: PendingSend;
  readonly #accumulator: Accumulator;
  readonly #refuse: (send: PendingSend, error: unknown) => void;
  #certain: boolean;

  constructor(
    send: PendingSend,
    accumulator: Accumulator,
    at: { readonly deadlineAt: number; readonly certain: boolean },
    /** Fails a record that is in no batch. */
    refuse: (send: PendingSend, error: unknown) => void,
  ) {
    this.topic = send.topic;
    this.generation = send.generation;
    this.deadlineAt = at.deadlineAt;
    this.#send = send;
    this.#accumulator = accumulator;
    this.#refuse = refuse;
    this.#certain = at.certain;
  }

  get settled(): boolean {
    return this.#send.entry.settled;
  }

  get unplaced(): number {
    return this.settled ? 0 : 1;
  }

  advance(): Progress {
    const { topic, record, entry, generation } = this.#send;
    const { startedAt, timestamp, trace } = entry;
    const headers = trace === undefined ? record.headers : trace.headersOf(record.headers);
    const arrival = { startedAt, timestamp, generation, headers };
    try {
      const batch = this.#accumulator.place(topic, record, arrival, this.#certain);
      if (batch === STALE) {
        this.#certain = true;
        return "stale";
      }
      entry.enter(batch);
    } catch (error) {
      this.#refuse(this.#send, error);
    }
    return "done";
  }

  fail(error: StreamHouseError): void {
    this.#refuse(this.#send, error);
  }
}
