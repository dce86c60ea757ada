/** The lease as the flusher sees it. Implemented by the lease manager. */
import type { TopicPartition } from "../core/topic.ts";

/** What the flusher asks of, and tells, the lease manager. */
export interface FlushLease {
  readonly runId: string;
  /** By the monotonic clock, at this moment. */
  isValid(): boolean;
  /** Metadata refused these to the run: their leases are gone (if it is still this one). Calls `partitionsLost`. */
  refused(
    runId: string,
    partitions: readonly (TopicPartition & { readonly reason: "fenced" | "deleted" })[],
  ): void;
  /** What is in memory may differ from metadata: begin a new run, from what metadata says (if it is still this one). */
  runInDoubt(runId: string, reason: string): void;
}
