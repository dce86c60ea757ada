/**
 * Members of consumer groups as metadata sees them: heartbeats as consumers send them, and letting go at once of what is to be let go
 * of. Hundreds of them fit into one process, which real consumers would not.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { StreamHouseError } from "../../src/core/errors.ts";
import { partitionKey, type TopicPartition } from "../../src/core/topic.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";

export const SESSION_MS = 10_000;

/** As agents ask for: a third of the session, and sooner of members that wait for partitions. */
const BEAT_MS = Math.floor(SESSION_MS / 3);
const AWAITING_MS = 500;
const RETRY_MS = 1_000;

/** Told of each heartbeat how long it took, and whether it was refused or not answered. */
export type BeatListener = (ms: number, failed: boolean) => void;

export class SimulatedMember {
  readonly memberId: string = randomUUID();
  readonly #store: MetadataStore;
  readonly #group: string;
  readonly #topic: string;
  readonly #onBeat: BeatListener;
  #epoch = 0;
  #owned: readonly TopicPartition[] = [];
  #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(
    store: MetadataStore,
    of: { readonly group: string; readonly topic: string },
    onBeat: BeatListener,
  ) {
    this.#store = store;
    this.#group = of.group;
    this.#topic = of.topic;
    this.#onBeat = onBeat;
  }

  /** Partitions that it has, by key. */
  get owned(): readonly string[] {
    return this.#owned.map((it) => partitionKey(it.topicId, it.partition));
  }

  /** Joins after `afterMs`, and beats until it stops. */
  start(afterMs: number): void {
    this.#running = this.#run(afterMs).catch((error: unknown) => {
      if (!this.#stopping.signal.aborted) console.error(`a member: ${String(error)}`);
    });
  }

  /** No word more: its session ends. */
  async die(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async leave(): Promise<void> {
    await this.die();
    await this.#store.leaveGroup(this.#group, this.memberId, { keepPlace: false });
  }

  async #run(afterMs: number): Promise<void> {
    const { signal } = this.#stopping;
    await wait(afterMs, undefined, { signal });
    while (!signal.aborted) {
      const at = performance.now();
      let failed = false;
      const pauseMs = await this.#beat().catch((error: unknown) => {
        failed = true;
        return this.#failed(error);
      });
      this.#onBeat(performance.now() - at, failed);
      await wait(pauseMs, undefined, { signal });
    }
  }

  /** As a consumer does: tries again a little later, and joins anew if it is out of the group. */
  #failed(error: unknown): number {
    if (!StreamHouseError.is(error)) throw error;
    if (error.kind === "fenced") {
      this.#epoch = 0;
      this.#owned = [];
    }
    return RETRY_MS * (0.5 + Math.random());
  }

  /** Answers when the next one is due. */
  async #beat(): Promise<number> {
    const { assigned, awaited, memberEpoch, revoking } = await this.#store.heartbeat({
      ...{ group: this.#group, memberId: this.memberId, instanceId: "", clientId: "bench" },
      ...{ memberEpoch: this.#epoch, topics: [this.#topic], owned: this.#owned },
      ...{ sessionTimeoutMs: SESSION_MS, rebalanceTimeoutMs: 60_000 },
    });
    this.#epoch = memberEpoch;
    this.#owned = assigned;
    if (revoking.length > 0) return 0;
    return awaited > 0 ? AWAITING_MS : BEAT_MS;
  }
}
