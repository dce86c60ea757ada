/**
 * Whether a run that had been overtaken wrote anything. Two witnesses that know nothing of each other: the database's own history of
 * flush commits and lease holders, and the lease epochs in the batches as they are served. Pure; called by the checker.
 */

/** One partition's share of a committed flush, beside who held the partition's lease when its next offset moved. */
export interface CommittedShare {
  readonly flushId: number;
  /** The run that wrote the flush. */
  readonly runId: string;
  readonly partition: number;
  readonly baseOffset: number;
  /** Lease epoch that the share was written under. */
  readonly epoch: number;
  /** As the partition's row said at that moment. */
  readonly holder: { readonly runId: string; readonly epoch: number };
  /** The run's time was over by the database's clock when the commit was applied, or the run was gone. */
  readonly expired: boolean;
}

/** A run that another one was seen to have taken the leases of. */
export interface Overtaken {
  readonly agent: string;
  readonly runId: string;
  /** The newest flush there was then: the run must have none beyond it. */
  readonly newestFlushId: number;
}

/** Each share that should have been refused, in words. */
export function fencedShares(
  commits: readonly CommittedShare[],
  overtaken: readonly Overtaken[],
): string[] {
  const over = new Map(overtaken.map((it) => [it.runId, it]));
  return commits.flatMap((share) => {
    const why = whyFenced(share, over.get(share.runId));
    if (why === undefined) return [];
    const { baseOffset, flushId, partition, runId } = share;
    return [`flush ${flushId} of run ${runId} at ${partition}@${baseOffset}: ${why}`];
  });
}

function whyFenced(share: CommittedShare, over: Overtaken | undefined): string | undefined {
  const { epoch, expired, flushId, holder, runId } = share;
  if (holder.runId !== runId) return `the lease was run ${holder.runId}'s`;
  if (holder.epoch !== epoch) return `the lease had epoch ${holder.epoch}, the share ${epoch}`;
  if (expired) return "its run's time was over";
  if (over !== undefined && flushId > over.newestFlushId) {
    return `${over.agent} had been overtaken by flush ${over.newestFlushId}`;
  }
  return undefined;
}

/** A lower epoch after a higher one is a write of somebody who had lost the lease. `epochs[partition]` is in offset order. */
export function staleEpochs(epochs: readonly (readonly number[])[]): string[] {
  return epochs.flatMap((of, partition) => {
    let newest = 0;
    const stale: string[] = [];
    for (const epoch of of) {
      if (epoch < newest) stale.push(`partition ${partition} has epoch ${epoch} after ${newest}`);
      newest = Math.max(newest, epoch);
    }
    return stale;
  });
}
