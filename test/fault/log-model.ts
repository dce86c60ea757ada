/** A model of what metadata may commit, which looks at every commit of every agent. Used by the simulation of several agents. */
import type { TopicPartition } from "../../src/core/topic.ts";
import type {
  FlushCommit,
  FlushOutcome,
  MetadataStore,
} from "../../src/metadata/metadata-store.ts";

/** What metadata commits: no flush twice, none but the newest lease's, none of a run whose time is over, no offset twice or left out. */
export class LogModel {
  readonly #now: () => number;
  readonly #flushes = new Set<string>();
  readonly #ends = new Map<string, number>();
  /** Run and epoch that each partition's newest lease was granted to. */
  readonly #leases = new Map<string, string>();
  /** When each run's time is over, by the store's clock. */
  readonly #expiries = new Map<string, number>();
  records: number = 0;
  /** What must not have been committed. Not thrown: whoever commits would take it for a failure of the database, and go on. */
  readonly defects: string[] = [];

  /** `now`: the store's clock. */
  constructor(now: () => number) {
    this.#now = now;
  }

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
        if (name === "startRun") {
          return async (run: Parameters<MetadataStore["startRun"]>[0]) => {
            this.#expiries.set(run.runId, this.#now() + run.ttlMs);
            return target.startRun(run);
          };
        }
        if (name === "renewRun") {
          return async (...args: Parameters<MetadataStore["renewRun"]>) => {
            const now = this.#now();
            const renewed = await target.renewRun(...args);
            const [runId, ttlMs] = args;
            if (renewed) this.#expiries.set(runId, now + ttlMs);
            return renewed;
          };
        }
        if (name !== "commitFlush") return member;
        return async (flush: FlushCommit): Promise<FlushOutcome> => {
          const now = this.#now();
          const outcome = await target.commitFlush(flush);
          if (outcome.status === "committed") this.#committed(flush, now);
          return outcome;
        };
      },
    });
  }

  #committed({ runId, flushSequence, entries }: FlushCommit, now: number): void {
    const flush = `${runId} ${flushSequence}`;
    if (this.#flushes.has(flush)) return;
    this.#flushes.add(flush);
    const expiry = this.#expiries.get(runId) ?? Number.NEGATIVE_INFINITY;
    if (now >= expiry)
      this.defects.push(`${flush}: its run's time was over ${now - expiry} ms ago`);
    for (const entry of entries) {
      const key = keyOf(entry);
      const [lease, by] = [this.#leases.get(key), `${runId} ${entry.epoch}`];
      if (lease !== by) this.defects.push(`${key}: ${lease} holds it, ${by} wrote`);
      const end = this.#ends.get(key) ?? 0;
      if (entry.baseOffset !== end) {
        this.defects.push(`${key}: offset ${entry.baseOffset} was committed after ${end}`);
      }
      this.#ends.set(key, entry.baseOffset + entry.recordCount);
      this.records += entry.recordCount;
    }
  }
}

function keyOf({ topicId, partition }: TopicPartition): string {
  return `${topicId}/${partition}`;
}
