/**
 * What this agent wrote, told by what is stored and not by what is counted: offsets of the held partitions, indexes of committed
 * chunks, answers of the sink. The audit compares the instruments with it. It adds a few numbers for each flush and lease, nothing
 * for each batch. Fed by holdings, settler and late commits; read by `agent-audit.ts`.
 */
import type { ChunkIndexEntry } from "../format/chunk.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { SegmentSink } from "../storage/segment-sink.ts";
import type { Flush, FlushShare } from "./flush.ts";
import type { Hold } from "./pending-batch.ts";

export class WriteLedger {
  /** Held partitions, with the offset at which this agent's own writing began. */
  readonly #begins = new Map<Hold, number>();
  /** Let go of, with batches that are not settled. */
  readonly #leaving = new Set<Hold>();
  /** Offsets by topic: of holds that are over, and of commits that were found late. */
  readonly #advanced = new Map<string, number>();
  /** Bytes of batches in committed chunks, by topic, as the chunks' indexes have them. */
  readonly bytes: Map<string, number> = new Map();
  /** Partition batches of committed flushes, by topic; without those found late, which nobody waited for. */
  readonly batches: Map<string, number> = new Map();
  /** Committed flushes whose answer came in time, and the bytes of their chunks. */
  flushes = 0;
  flushBytes = 0;
  /** Bytes that the sink, and the store for merged segments, said they hold. */
  stored = 0;
  /** Bytes that they were given and have not answered for. */
  writing = 0;

  /** A lease was taken: offsets from here on are this agent's. */
  held(hold: Hold): void {
    this.#begins.set(hold, hold.nextOffset);
    if (this.#leaving.size > 0) this.#sweep();
  }

  /** The lease is gone. What is under way may still be committed. */
  left(hold: Hold): void {
    if (hold.pending > 0) this.#leaving.add(hold);
    else this.#end(hold);
  }

  /** A flush's commit was answered. */
  committed({ chunk, shares }: Flush): void {
    this.flushes++;
    this.flushBytes += chunk.length;
    chunk.entries.forEach((entry, i) => {
      const { partition, batches } = shares[i] as FlushShare;
      add(this.bytes, partition.topic, entry.length);
      add(this.batches, partition.topic, batches.length);
    });
  }

  /** A flush whose commit was not answered turned out to be committed. `topics`: of the entries. */
  foundLate(topics: readonly string[], entries: readonly ChunkIndexEntry[]): void {
    entries.forEach((entry, i) => {
      const topic = topics[i] ?? "";
      add(this.#advanced, topic, entry.recordCount);
      add(this.bytes, topic, entry.length);
    });
  }

  /** The same sink, with its bytes entered here. */
  watch(sink: SegmentSink): SegmentSink {
    return {
      concurrency: sink.concurrency,
      append: async (parts, flush, signal) => {
        const bytes = parts.reduce((sum, part) => sum + part.length, 0);
        this.writing += bytes;
        try {
          const location = await sink.append(parts, flush, signal);
          this.stored += location.length;
          return location;
        } finally {
          this.writing -= bytes;
        }
      },
      close: () => sink.close(),
    };
  }

  /** The same store, with the bytes of what is put there entered here: merged segments, and chunks where each is an object. */
  watchPuts(store: ObjectStore): ObjectStore {
    return {
      ...{ kind: store.kind, remote: store.remote, close: () => store.close() },
      get: (key, range, signal) => store.get(key, range, signal),
      head: (key, signal) => store.head(key, signal),
      list: (prefix, startAfter, signal) => store.list(prefix, startAfter, signal),
      delete: (keys, signal) => store.delete(keys, signal),
      put: async (key, parts, signal) => {
        const bytes = parts.reduce((sum, part) => sum + part.length, 0);
        this.writing += bytes;
        try {
          await store.put(key, parts, signal);
          this.stored += bytes;
        } finally {
          this.writing -= bytes;
        }
      },
    };
  }

  /** Committed records by topic, from offsets. `sealed`: flushes whose offsets are provisional. */
  advanced(sealed: readonly Flush[]): Map<string, number> {
    this.#sweep();
    const all = new Map(this.#advanced);
    for (const [hold, begin] of this.#begins) add(all, hold.topic, hold.nextOffset - begin);
    for (const flush of sealed) {
      flush.chunk.entries.forEach((entry, i) => {
        add(all, (flush.shares[i] as FlushShare).partition.topic, -entry.recordCount);
      });
    }
    return all;
  }

  #sweep(): void {
    for (const hold of this.#leaving) {
      if (hold.pending > 0) continue;
      this.#leaving.delete(hold);
      this.#end(hold);
    }
  }

  #end(hold: Hold): void {
    const begin = this.#begins.get(hold);
    if (begin === undefined) return;
    this.#begins.delete(hold);
    add(this.#advanced, hold.topic, hold.nextOffset - begin);
  }
}

function add(into: Map<string, number>, key: string, n: number): void {
  into.set(key, (into.get(key) ?? 0) + n);
}
