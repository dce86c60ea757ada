/**
 * Gives leases back, partition by partition as their accepted batches are settled, and many in one transaction: what is idle goes
 * at once, what is busy follows when its flush is committed. Called by the balancer; the agent's drain waits for it.
 */
import { asStreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { TopicPartition } from "../core/topic.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { Hold } from "./pending-batch.ts";

export interface HandOverComponents {
  readonly metadata: MetadataStore;
  readonly logger: Logger;
  /** The run whose leases are given back must still be the agent's. */
  readonly currentRun: () => string;
  /** Metadata has released it. */
  readonly released: (hold: Hold) => void;
}

/** Leases released in one transaction. */
const STEP = 1_000;

export class HandOver {
  readonly #parts: HandOverComponents;
  /** Begun, and neither released nor failed. */
  readonly #open = new Set<Hold>();
  #ready: { readonly runId: string; readonly hold: Hold }[] = [];
  #releasing: Promise<void> | undefined;
  #waiting: (() => void)[] = [];

  constructor(components: HandOverComponents) {
    this.#parts = components;
  }

  /** From now on these partitions take nothing new. Does not wait. */
  begin(runId: string, holds: Iterable<Hold>): void {
    for (const hold of holds) {
      if (hold.phase !== "held" && !this.isInDoubt(hold)) continue;
      hold.phase = "releasing";
      this.#open.add(hold);
      if (hold.pending === 0) this.#ready.push({ runId, hold });
      else {
        void hold.whenIdle().then(() => {
          this.#ready.push({ runId, hold });
          this.#pump();
        });
      }
    }
    this.#pump();
  }

  /** It was asked to be released, and nobody knows whether it is: it takes nothing more, and is to be released again or taken anew. */
  isInDoubt(hold: Hold): boolean {
    return hold.phase === "releasing" && !this.#open.has(hold);
  }

  /** Resolves when nothing is being handed over. */
  settled(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #pump(): void {
    if (this.#ready.length === 0 || this.#releasing !== undefined) return;
    this.#releasing = this.#releaseReady().finally(() => {
      this.#releasing = undefined;
      this.#pump();
    });
  }

  async #releaseReady(): Promise<void> {
    // What became idle in the same moment goes together.
    await Promise.resolve();
    const ready = this.#ready.splice(0, STEP);
    const { metadata, currentRun, released } = this.#parts;
    const runId = currentRun();
    // Of a run that is over there is nothing to give back.
    const holds = ready.filter((it) => it.runId === runId).map((it) => it.hold);
    try {
      if (holds.length > 0) await metadata.releaseLeases(runId, holds.map(toTopicPartition));
      for (const hold of holds) released(hold);
    } catch (thrown) {
      this.#failed(holds, thrown);
    }
    for (const { hold } of ready) this.#open.delete(hold);
    if (this.#open.size > 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /**
   * They are tried again in the next round. What was certainly not released is still ours, and nobody else can take it; what may have
   * been is perhaps another's by now, who writes what this agent does not know of.
   */
  #failed(holds: readonly Hold[], thrown: unknown): void {
    const { message, outcome } = asStreamHouseError(thrown, "handing over partitions");
    this.#parts.logger.warn("handing over partitions failed", {
      partitions: holds.length,
      error: message,
    });
    if (outcome === "unknown") return;
    for (const hold of holds) if (hold.phase === "releasing") hold.phase = "held";
  }
}

/** The port is told no more than it asks for. */
export function toTopicPartition({ topicId, partition }: TopicPartition): TopicPartition {
  return { topicId, partition };
}
