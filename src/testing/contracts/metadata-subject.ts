/** What the parts of the metadata store's contract share: the store under test, and made-up names, runs and flushes. */
import assert from "node:assert/strict";
import { StreamHouseError } from "../../core/errors.ts";
import { createUuid } from "../../core/ids.ts";
import type { Topic } from "../../core/topic.ts";
import type { ChunkIndexEntry } from "../../format/chunk.ts";
import type { MergedSegment } from "../../metadata/merge-store.ts";
import type {
  CommittedFlush,
  FlushCommit,
  LeaseGrant,
  MetadataStore,
} from "../../metadata/metadata-store.ts";

/** A store to test, and its clock. */
export interface MetadataSubject {
  readonly metadata: MetadataStore;
  /** Moves the store's clock on. */
  readonly advance: (ms: number) => Promise<void>;
}

/** A name that no other test of the same store uses. */
export function fresh(what: string): string {
  return `${what}-${createUuid()}`;
}

/** For `assert.rejects`. */
export function code(expected: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(StreamHouseError.is(error), String(error));
    assert.equal(error.code, expected, error.message);
    assert.equal(error.outcome, "none");
    return true;
  };
}

/** A topic with all its partitions held by a new run. */
export async function heldTopic(
  metadata: MetadataStore,
  partitions = 1,
  ttlMs = 10_000,
): Promise<{ topic: Topic; runId: string; grants: readonly LeaseGrant[] }> {
  const topic = await metadata.createTopic({ name: fresh("held"), partitions, retentionMs: 0 });
  const runId = fresh("run");
  await startRun(metadata, runId, ttlMs);
  const grants = await metadata.acquireLeases(runId, partitionsOf(topic));
  assert.equal(grants.length, partitions);
  return { topic, runId, grants };
}

export async function startRun(
  metadata: MetadataStore,
  runId: string,
  ttlMs = 10_000,
  predecessorsDead = false,
): Promise<void> {
  const run = { runId, agentId: "agent", address: "127.0.0.1:1", ttlMs, predecessorsDead };
  await metadata.startRun(run);
}

export function partitionsOf(topic: Topic): { topicId: string; partition: number }[] {
  return Array.from({ length: topic.partitions }, (_, partition) => ({
    topicId: topic.id,
    partition,
  }));
}

export interface EntryInput {
  readonly topicId: string;
  readonly partition?: number;
  readonly epoch?: number;
  readonly baseOffset: number;
  readonly recordCount?: number;
}

/** A flush of these shares; timestamps and positions are made up, and different in each entry. */
export function flushOf(
  runId: string,
  flushSequence: number,
  inputs: readonly EntryInput[],
  producerStates: FlushCommit["producerStates"] = [],
): FlushCommit {
  const entries = inputs.map(
    (it, i): ChunkIndexEntry => ({
      topicId: it.topicId,
      partition: it.partition ?? 0,
      epoch: it.epoch ?? 1,
      position: 64 + 100 * i,
      length: 100,
      baseOffset: it.baseOffset,
      recordCount: it.recordCount ?? 1,
      minTimestamp: 1_700_000_000_000 + i,
      maxTimestamp: 1_700_000_001_000 + i,
      appendTimeMs: 1_700_000_002_000,
    }),
  );
  const key = `segments/2026-01-01/${runId}-000000000001.seg`;
  const location = { key, position: 1_000 * flushSequence, length: 64 + 100 * inputs.length };
  return { runId, flushSequence, location, entries, producerStates };
}

/** The same flush in an object of its own choice. */
export function inObject(flush: FlushCommit, key: string): FlushCommit {
  return { ...flush, location: { ...flush.location, key } };
}

/** Forgets every flush that is dead, `limit` at a time. */
export async function dropAll(metadata: MetadataStore, limit = 100): Promise<CommittedFlush[]> {
  const dropped: CommittedFlush[] = [];
  // Bounded: each call either finishes a partition or looks at `limit` flushes.
  for (let quiet = 0; quiet < 20; quiet++) {
    const some = await metadata.dropDeadFlushes(limit);
    assert.ok(some.length <= limit);
    if (some.length > 0) quiet = 0;
    dropped.push(...some);
  }
  return dropped;
}

/** A merged segment of these pieces, one behind the other from `baseOffset` on; each number is a piece's records. */
export function mergeOf(
  topicId: string,
  partition: number,
  baseOffset: number,
  pieces: readonly number[],
  epoch = 1,
): MergedSegment {
  const entries: ChunkIndexEntry[] = [];
  let next = baseOffset;
  for (const [i, recordCount] of pieces.entries()) {
    entries.push({
      ...{ topicId, partition, epoch, recordCount },
      position: 100 * i,
      length: 100,
      baseOffset: next,
      minTimestamp: 1_700_000_000_000 + i,
      maxTimestamp: 1_700_000_001_000 + i,
      appendTimeMs: 1_700_000_002_000 + i,
    });
    next += recordCount;
  }
  const key = `topics/${topicId}/${partition}/${fresh("merged")}.seg`;
  const location = { key, position: 0, length: 100 * pieces.length };
  return { topicId, partition, baseOffset, endOffset: next, location, entries };
}
