/** Who wants to know that partitions came or went. Each is awaited; what one throws is told to whoever reads next. */
import type { PartitionRef } from "./options.ts";

/** `lost`: the group took the partitions without waiting (the session had ended); nothing of them can be committed. */
export interface RevocationInfo {
  readonly lost: boolean;
}

/** Called with partitions that were given to this consumer, before their first record is handed out. May `seek`. */
export type AssignedListener = (partitions: readonly PartitionRef[]) => void | Promise<void>;
/** Called with partitions that are being taken away, while the group waits (up to the rebalance timeout), or that were lost. */
export type RevokedListener = (
  partitions: readonly PartitionRef[],
  info: RevocationInfo,
) => void | Promise<void>;

/** Listeners of one kind, at most this many: more is a leak in the application. */
const LISTENERS_MAX = 100;

export class AssignmentListeners {
  readonly #assigned = new Set<AssignedListener>();
  readonly #revoked = new Set<RevokedListener>();
  readonly #failed: (error: unknown) => void;
  #telling = 0;

  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /** A listener is running: what it asks of the consumer must not wait for the listener. */
  get telling(): boolean {
    return this.#telling > 0;
  }

  /** Answers how to unsubscribe. @throws RangeError beyond 100 listeners */
  onAssigned(listener: AssignedListener): () => void {
    return added(this.#assigned, listener);
  }

  /** Answers how to unsubscribe. @throws RangeError beyond 100 listeners */
  onRevoked(listener: RevokedListener): () => void {
    return added(this.#revoked, listener);
  }

  async assigned(partitions: readonly PartitionRef[]): Promise<void> {
    for (const listener of [...this.#assigned]) await this.#call(() => listener(partitions));
  }

  async revoked(partitions: readonly PartitionRef[], info: RevocationInfo): Promise<void> {
    for (const listener of [...this.#revoked]) await this.#call(() => listener(partitions, info));
  }

  async #call(listener: () => void | Promise<void>): Promise<void> {
    this.#telling++;
    try {
      await listener();
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#telling--;
    }
  }
}

function added<T>(listeners: Set<T>, listener: T): () => void {
  if (listeners.size >= LISTENERS_MAX) {
    throw new RangeError(`a consumer has at most ${LISTENERS_MAX} listeners of a kind`);
  }
  listeners.add(listener);
  return () => listeners.delete(listener);
}
