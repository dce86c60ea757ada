/** A model of what metadata may commit, which looks at every commit of every agent. Used by the simulation of several agents. */
import assert from "node:assert/strict";
import type { TopicPartition } from "../../src/core/topic.ts";
import type {
  FlushCommit,
  FlushOutcome,
  MetadataStore,
} from "../../src/metadata/metadata-store.ts";

/** What metadata commits: no flush twice, none but the newest lease's, no offset twice or left out. */
export class LogModel {
  readonly #flushes = new Set<string>();
  readonly #ends = new Map<string, number>();
  /** Run and epoch that each partition's newest lease was granted to. */
  readonly #leases = new Map<string, string>();
  records: number = 0;

  endOf(topicId: string, partition: number): number {
    return this.#ends.get(`${topicId}/${partition}`) ?? 0;
  }

  watched(inner: MetadataStore): MetadataStore {
    return new Proxy(inner, {
      get: (target, name) => {
        const member = Reflect.get(target, name, target) as unknown;
        if (name === "acquireLeases") {
          return async (runId: string, partitions: readonly TopicPartition[]) => {
            const grants = await target.acquireLeases(runId, partitions);
            for (const it of grants) this.#leases.set(keyOf(it), `${runId} ${it.epoch}`);
            return grants;
          };
        }
        if (name !== "commitFlush") return member;
        return async (flush: FlushCommit): Promise<FlushOutcome> => {
          const outcome = await target.commitFlush(flush);
          if (outcome.status === "committed") this.#committed(flush);
          return outcome;
        };
      },
    });
  }

  #committed({ runId, flushSequence, entries }: FlushCommit): void {
    const flush = `${runId} ${flushSequence}`;
    if (this.#flushes.has(flush)) return;
    this.#flushes.add(flush);
    for (const entry of entries) {
      const key = keyOf(entry);
      assert.equal(`${runId} ${entry.epoch}`, this.#leases.get(key), `${key}: no fenced write`);
      assert.equal(entry.baseOffset, this.#ends.get(key) ?? 0, `${key}: contiguous`);
      this.#ends.set(key, entry.baseOffset + entry.recordCount);
      this.records += entry.recordCount;
    }
  }
}

function keyOf({ topicId, partition }: TopicPartition): string {
  return `${topicId}/${partition}`;
}
