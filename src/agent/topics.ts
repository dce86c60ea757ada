/**
 * Topics by name and by id, from memory. What is not known is looked for in metadata before anybody is told that it
 * does not exist. Names that clients send are never kept, so they cannot fill memory. Called by services,
 * lease manager, fetcher.
 */
import { type Clock, sleep } from "../core/clock.ts";
import { invalid, type StreamHouseError } from "../core/errors.ts";
import type { Topic } from "../core/topic.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { Reachability } from "./reachability.ts";

export interface TopicsComponents {
  readonly metadata: MetadataStore;
  readonly clock: Clock;
  readonly reachability: Reachability;
}

/** A topic as a request names it: by name, by id, or both (which must then belong together). */
export interface TopicRef {
  readonly name: string;
  readonly topicId: string;
}

/** Between two reads of the whole list for names that are not known, so that wrong ones cannot keep metadata busy. */
const MISS_PAUSE_MS = 20;

export class Topics {
  readonly #metadata: MetadataStore;
  readonly #clock: Clock;
  readonly #reachability: Reachability;
  #byName: ReadonlyMap<string, Topic> = new Map();
  #byId: ReadonlyMap<string, Topic> = new Map();
  #refreshing: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #missedAt = Number.NEGATIVE_INFINITY;
  /** Counts `put` and `remove`: a list that was asked for before the last one of them is out of date. */
  #changes = 0;
  #onGone: (topicIds: ReadonlySet<string>) => void = () => {};

  constructor(components: TopicsComponents) {
    this.#metadata = components.metadata;
    this.#clock = components.clock;
    this.#reachability = components.reachability;
  }

  /** Told once about every topic that was known and was deleted. */
  onGone(listener: (topicIds: ReadonlySet<string>) => void): void {
    this.#onGone = listener;
  }

  get size(): number {
    return this.#byId.size;
  }

  all(): Iterable<Topic> {
    return this.#byId.values();
  }

  byId(topicId: string): Topic | undefined {
    return this.#byId.get(topicId);
  }

  /** From memory; undefined if it is not known there (or the id is another one than the name has). */
  known(ref: TopicRef): Topic | undefined {
    if (ref.topicId === "") return this.#byName.get(ref.name);
    const topic = this.#byId.get(ref.topicId);
    return ref.name === "" || topic?.name === ref.name ? topic : undefined;
  }

  /**
   * From memory, or after a look into metadata.
   * @throws StreamHouseError `TOPIC_NOT_FOUND`, `METADATA_UNAVAILABLE`
   */
  async find(ref: TopicRef): Promise<Topic> {
    const known = this.known(ref);
    if (known !== undefined) return known;
    await this.#refreshForMiss();
    const found = this.known(ref);
    if (found === undefined) throw topicNotFound(ref);
    return found;
  }

  /** Reads the list. Single flight: a caller gets a read that began after its call. */
  refresh(): Promise<void> {
    if (this.#refreshing === undefined) {
      this.#refreshing = this.#read().finally(() => {
        this.#refreshing = undefined;
      });
      return this.#refreshing;
    }
    this.#next ??= this.#refreshing
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.refresh();
      });
    return this.#next;
  }

  /** A topic was made or changed through this agent. */
  put(topic: Topic): void {
    this.#changes++;
    this.#replace([...[...this.#byId.values()].filter((it) => it.id !== topic.id), topic]);
  }

  /** A topic was deleted through this agent. */
  remove(topicId: string): void {
    this.#changes++;
    this.#replace([...this.#byId.values()].filter((it) => it.id !== topicId));
  }

  async #refreshForMiss(): Promise<void> {
    const pause = this.#missedAt + MISS_PAUSE_MS - this.#clock.monotonic();
    if (pause > 0) await sleep(this.#clock, pause);
    this.#missedAt = this.#clock.monotonic();
    await this.refresh();
  }

  async #read(): Promise<void> {
    for (;;) {
      const before = this.#changes;
      const topics = await this.#reachability.watch(this.#metadata.listTopics());
      // A topic made meanwhile is not in it, and must not be taken for deleted.
      if (before === this.#changes) return this.#replace(topics);
    }
  }

  #replace(topics: readonly Topic[]): void {
    const before = this.#byId;
    this.#byId = new Map(topics.map((it) => [it.id, it]));
    this.#byName = new Map(topics.map((it) => [it.name, it]));
    const gone = new Set([...before.keys()].filter((id) => !this.#byId.has(id)));
    if (gone.size > 0) this.#onGone(gone);
  }
}

/** Names come from clients: they are shortened, and never become label values. */
export function topicNotFound(ref: TopicRef): StreamHouseError {
  const name = JSON.stringify(ref.name.slice(0, 60));
  const id = JSON.stringify(ref.topicId.slice(0, 40));
  const what =
    ref.topicId === ""
      ? `topic ${name} does not exist: create it first`
      : `there is no topic with id ${id}${ref.name === "" ? "" : ` and name ${name}`}: it was deleted ` +
        "(a topic made anew under its name has another id); ask for the topic again";
  return invalid("TOPIC_NOT_FOUND", what, { field: ref.topicId === "" ? "topic" : "topic_id" });
}
