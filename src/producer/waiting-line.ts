/**
 * Where calls wait that cannot be taken at once: for a topic that is being looked up, or for room in the buffer. First in, first
 * out, so that waiting never changes the order of a topic's records. Bounded in number, and by each call's own deadline.
 */
import { StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { Queue } from "../core/queue.ts";
import type { Generations } from "./generations.ts";
import type { TopicState, Waiter } from "./topic-state.ts";

/** What the line needs of the accumulator. */
export interface WaitingRoom {
  /** There is no room for more records. */
  isFull(): boolean;
  /** Calls wait for room: lingering batches must not keep it. */
  makeRoom(): void;
  /** The topic must be looked up; `resume()` is called afterwards. */
  find(topic: TopicState, options: { readonly fresh: boolean }): void;
  /** A call meets its deadline at this moment (monotonic ms). */
  deadlineAt(at: number): void;
}

type Failure = (topic: TopicState) => StreamHouseError;

export class WaitingLine {
  readonly #room: WaitingRoom;
  readonly #generations: Generations;
  /** For room. Those who wait for a topic stand in that topic's own line. */
  #line: Queue<Waiter> = new Queue();
  readonly #topics = new Set<TopicState>();
  #length = 0;
  #admitting = false;
  #onEmpty: (() => void)[] = [];

  constructor(room: WaitingRoom, generations: Generations) {
    this.#room = room;
    this.#generations = generations;
  }

  /** Nobody waits for room: a topic that is ready can be written to without overtaking anybody. */
  get isOpen(): boolean {
    return this.#line.length === 0;
  }

  /** Everybody who waits, for room or for a topic. */
  *[Symbol.iterator](): Generator<Waiter, void, undefined> {
    yield* this.#line;
    for (const topic of this.#topics) yield* topic.waiters;
  }

  /** Resolves when nobody waits. */
  whenEmpty(): Promise<void> {
    if (this.#length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onEmpty.push(resolve));
  }

  /** Lets a call wait. `stale`: its topic must be looked up again first. */
  join(waiter: Waiter, options: { readonly stale: boolean } = { stale: false }): void {
    if (this.#length >= limits.waitingSendsMax) {
      waiter.fail(tooManyWaiters());
      return;
    }
    this.#length++;
    waiter.waiting = true;
    this.#generations.enter(waiter.generation);
    this.#room.deadlineAt(waiter.deadlineAt);
    if (this.isOpen && (options.stale || !waiter.topic.ready)) {
      this.#waitForTopic(waiter, options.stale);
    } else {
      this.#line.push(waiter);
      this.#room.makeRoom();
    }
  }

  #waitForTopic(waiter: Waiter, fresh: boolean): void {
    this.#topics.add(waiter.topic);
    waiter.topic.waiters.push(waiter);
    this.#room.find(waiter.topic, { fresh });
  }

  /** The topic is known (again): those who waited for it go before those who came later. */
  resume(topic: TopicState): void {
    this.#topics.delete(topic);
    if (topic.waiters.length > 0) {
      const line = topic.waiters;
      topic.waiters = new Queue();
      for (let later = this.#line.shift(); later; later = this.#line.shift()) line.push(later);
      this.#line = line;
    }
    this.admit();
  }

  /** Takes from the line what there is room for. */
  admit(): void {
    // A record that is refused gives its room back, which calls this again.
    if (this.#admitting) return;
    this.#admitting = true;
    while (this.#admitFirst()) {
      // Until the first one cannot go on.
    }
    this.#admitting = false;
  }

  #admitFirst(): boolean {
    const waiter = this.#line.peek();
    if (waiter === undefined) return false;
    if (!waiter.settled) {
      if (!waiter.topic.ready) return this.#toTopic(waiter, false);
      const progress = this.#room.isFull() ? "full" : waiter.advance();
      if (progress === "stale") return this.#toTopic(waiter, true);
      if (progress === "full") {
        this.#room.makeRoom();
        return false;
      }
    }
    this.#line.shift();
    this.leave(waiter);
    return true;
  }

  #toTopic(waiter: Waiter, fresh: boolean): boolean {
    this.#line.shift();
    this.#waitForTopic(waiter, fresh);
    return true;
  }

  /** It does not wait any more. One that was taken back leaves at once, although its place is passed over only later. */
  leave(waiter: Waiter): void {
    if (!waiter.waiting) return;
    waiter.waiting = false;
    this.#length--;
    this.#generations.leave(waiter.generation);
    if (this.#length > 0 || this.#onEmpty.length === 0) return;
    for (const resolve of this.#onEmpty.splice(0)) resolve();
  }

  /** Fails calls that wait for this topic. */
  failTopic(topic: TopicState, error: StreamHouseError): void {
    this.#topics.delete(topic);
    this.#failWhile(topic.waiters, always, () => error);
  }

  failAll(error: Failure): void {
    for (const topic of this.#topics) this.#failWhile(topic.waiters, always, error);
    this.#topics.clear();
    this.#failWhile(this.#line, always, error);
  }

  /** Fails calls whose deadline ended while they waited; answers the next such moment. */
  expire(now: number, error: Failure): number {
    const expired = (waiter: Waiter) => waiter.settled || waiter.deadlineAt <= now;
    let next = Number.POSITIVE_INFINITY;
    const visit = (line: Queue<Waiter>) => {
      this.#failWhile(line, expired, error);
      next = Math.min(next, line.peek()?.deadlineAt ?? next);
    };
    for (const topic of this.#topics) visit(topic.waiters);
    visit(this.#line);
    return next;
  }

  #failWhile(line: Queue<Waiter>, which: (waiter: Waiter) => boolean, error: Failure): void {
    for (let waiter = line.peek(); waiter && which(waiter); waiter = line.peek()) {
      line.shift();
      if (!waiter.settled) waiter.fail(error(waiter.topic));
      this.leave(waiter);
    }
  }
}

const always = (): boolean => true;

function tooManyWaiters(): StreamHouseError {
  return new StreamHouseError({
    code: "OVERLOADED",
    kind: "unavailable",
    message:
      `${limits.waitingSendsMax} sends wait for room in the producer's buffer: await some of them before ` +
      "sending more, use sendBatch, or raise bufferBytes",
  });
}
