/**
 * What follows when an agent will not read a partition where the consumer is: going on elsewhere by the reset rule, turning to the
 * new topic of the same name, or telling the application. Called by the fetch loop, which has halted the partition.
 */
import { asStreamHouseError, StreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { checkPartition, type Topic } from "../core/topic.ts";
import { type CallComponents, type Persistence, persist } from "./calls.ts";
import type { Cursor } from "./cursor.ts";
import type { FetchedQueue } from "./fetched.ts";
import { EARLIEST, LATEST, listOffsets, outOfRange } from "./offsets.ts";
import type { OffsetReset } from "./options.ts";

/** Before an agent that was wrong is asked again, ms. */
const TRY_ON_MS = 100;

export interface RefusalComponents extends CallComponents {
  readonly logger: Logger;
  readonly queue: FetchedQueue;
  readonly offsetReset: OffsetReset;
  /** Aborts when the consumer closes. */
  readonly signal: AbortSignal;
  /** The cursor may be fetched from again. */
  readonly onMoved: () => void;
  /** With a group: the next heartbeat brings what the topic's name stands for now. Undefined by manual assignment. */
  readonly askGroup: (() => void) | undefined;
  /** By manual assignment: the partition of another topic takes this one's place. */
  readonly replace: (cursor: Cursor, topic: Topic) => Promise<void>;
  readonly fail: (error: StreamHouseError) => void;
}

export class Refusals {
  readonly #parts: RefusalComponents;
  readonly #persistence: Persistence;

  constructor(parts: RefusalComponents) {
    this.#parts = parts;
    // The consumer cannot go on without an answer: it waits as for a fetch.
    this.#persistence = { signal: parts.signal, patienceMs: Number.POSITIVE_INFINITY };
  }

  /** Never throws: what cannot be resolved is told to the reader. */
  async handle(cursor: Cursor, error: StreamHouseError): Promise<void> {
    const generation = cursor.fetchGeneration;
    const current = () => generation === cursor.fetchGeneration && !this.#parts.signal.aborted;
    try {
      if (error.code === "TOPIC_NOT_FOUND") await this.#lookForTopic(cursor, current);
      else if (error.code === "OFFSET_OUT_OF_RANGE") await this.#reset(cursor, current);
      else this.#parts.queue.stop(cursor, placed(cursor, error));
    } catch (thrown) {
      const failure = asStreamHouseError(thrown, `reading ${cursor.name}`);
      if (current()) this.#parts.queue.stop(cursor, failure);
    }
  }

  /** The topic is gone; one that was made anew under its name is another one. */
  async #lookForTopic(cursor: Cursor, current: () => boolean): Promise<void> {
    const { askGroup, cluster, fail, replace, signal } = this.#parts;
    const options = { fresh: true, signal };
    let topic: Topic;
    try {
      topic = await persist(
        this.#parts,
        () => cluster.topic(cursor.topic, options),
        this.#persistence,
      );
    } catch (error) {
      if (askGroup === undefined) throw error;
      if (current()) fail(asStreamHouseError(error, `reading ${cursor.name}`));
      askGroup();
      return;
    }
    if (!current()) return;
    if (topic.id === cursor.topicId) {
      // An agent that has not heard of it yet.
      this.#tryOn(cursor);
    } else if (askGroup !== undefined) {
      askGroup();
    } else {
      checkPartition(topic, cursor.partition);
      await replace(cursor, topic);
    }
  }

  /** The same again in a moment, perhaps at another agent. */
  #tryOn(cursor: Cursor): void {
    cursor.connection = undefined;
    cursor.halted = false;
    cursor.notBefore = this.#parts.clock.monotonic() + TRY_ON_MS;
    this.#parts.onMoved();
  }

  /** Only what lies below the log's start is gone: nothing else moves a consumer from where it is. */
  async #reset(cursor: Cursor, current: () => boolean): Promise<void> {
    const { logger, offsetReset, onMoved } = this.#parts;
    const find = async (end: number): Promise<number> => {
      const offsets = await listOffsets(this.#parts, [cursor], end, this.#persistence);
      return offsets.get(cursor.key) ?? cursor.fetchOffset;
    };
    const from = cursor.fetchOffset;
    const earliest = await find(EARLIEST);
    if (from >= earliest) {
      // The log has it, or will have it: who said otherwise knew less than the one that was asked now.
      if (current()) this.#tryOn(cursor);
      return;
    }
    const to = offsetReset === "earliest" ? earliest : await find(LATEST);
    if (!current()) return;
    if (offsetReset === "error") {
      this.#parts.queue.stop(cursor, outOfRange(cursor, from, earliest, to));
      return;
    }
    logger.warn("the offset is out of range: reading goes on elsewhere", {
      partition: cursor.name,
      from,
      to,
    });
    // What was fetched before is given out first; with nothing of that kind the position moves at once.
    if (cursor.position === from) cursor.skip(to);
    cursor.fetchOffset = to;
    cursor.halted = false;
    onMoved();
  }
}

/** The same error, saying where. */
function placed(cursor: Cursor, error: StreamHouseError): StreamHouseError {
  const { topic, partition, fetchOffset } = cursor;
  return new StreamHouseError({
    code: error.code,
    kind: error.kind,
    retriable: error.retriable,
    message: `offset ${fetchOffset} of ${cursor.name} cannot be read: ${error.message}`,
    range: error.range ?? { topic, partition, firstOffset: fetchOffset, lastOffset: fetchOffset },
    cause: error,
  });
}
