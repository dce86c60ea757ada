import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { CommittedFlush, MetadataStore } from "../../../src/metadata/metadata-store.ts";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import { flushOf, startRun } from "../../../src/testing/contracts/metadata-subject.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

const PARTITIONS = 3;
const RUNS = ["run-a", "run-b"] as const;

/** What happens to the store: everything by small numbers, so that it shrinks well. */
type Step =
  | {
      readonly do: "commit";
      readonly run: number;
      readonly counts: readonly number[];
      readonly off: number;
    }
  | { readonly do: "take" | "release"; readonly run: number; readonly partition: number }
  | { readonly do: "trim"; readonly partition: number; readonly to: number }
  | { readonly do: "drop"; readonly limit: number }
  | { readonly do: "again" };

const partition = fc.nat(PARTITIONS - 1);
const run = fc.nat(RUNS.length - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("commit" as const),
      run,
      counts: fc.array(fc.nat(3), { minLength: PARTITIONS, maxLength: PARTITIONS }),
      // Mostly the right base offset.
      off: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, -1),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("take" as const, "release" as const),
      run,
      partition,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("trim" as const), partition, to: fc.nat(30) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("drop" as const), limit: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("again" as const) }) },
);

interface ModelPartition {
  next: number;
  start: number;
  holder: string | undefined;
  epoch: number;
}

interface ModelFlush {
  readonly name: string;
  /** End offset by partition. */
  readonly ends: ReadonlyMap<number, number>;
}

/** The store's promises, as plainly as they can be written. */
class Model {
  readonly partitions: ModelPartition[] = Array.from({ length: PARTITIONS }, () => ({
    next: 0,
    start: 0,
    holder: undefined,
    epoch: 0,
  }));
  flushes: ModelFlush[] = [];
  sequence = 0;
  last: ReturnType<typeof flushOf> | undefined;

  isDead(flush: ModelFlush): boolean {
    return [...flush.ends].every(([at, end]) => end <= (this.partitions[at]?.start ?? 0));
  }
}

const nameOf = (it: Pick<CommittedFlush, "runId" | "flushSequence">) =>
  `${it.runId}/${it.flushSequence}`;

async function apply(metadata: MetadataStore, topicId: string, model: Model, it: Step) {
  switch (it.do) {
    case "take":
    case "release": {
      const runId = RUNS[it.run] as string;
      const at = model.partitions[it.partition] as ModelPartition;
      const where = [{ topicId, partition: it.partition }];
      if (it.do === "release") {
        await metadata.releaseLeases(runId, where);
        if (at.holder === runId) at.holder = undefined;
        return;
      }
      const [grant] = await metadata.acquireLeases(runId, where);
      if (at.holder === undefined) {
        at.holder = runId;
        at.epoch += 1;
      }
      const expected = at.holder === runId ? at.epoch : undefined;
      assert.equal(grant?.epoch, expected);
      if (grant !== undefined) assert.equal(grant.nextOffset, at.next);
      return;
    }
    case "trim": {
      const at = model.partitions[it.partition] as ModelPartition;
      const bounds = [{ topicId, partition: it.partition, logStartOffset: it.to }];
      await metadata.advanceLogStart(bounds);
      at.start = Math.max(at.start, Math.min(it.to, at.next));
      return;
    }
    case "drop": {
      for (const dropped of await metadata.dropDeadFlushes(it.limit)) {
        const name = nameOf(dropped);
        const known = model.flushes.find((flush) => flush.name === name);
        assert.ok(known !== undefined && model.isDead(known), `${name} was dropped alive`);
        model.flushes = model.flushes.filter((flush) => flush !== known);
      }
      return;
    }
    case "again": {
      const { last } = model;
      if (last === undefined || !model.flushes.some((flush) => flush.name === nameOf(last))) return;
      assert.equal(await metadata.resolveFlush(last), "committed");
      return;
    }
    case "commit":
      await commit(metadata, topicId, model, it);
  }
}

async function commit(
  metadata: MetadataStore,
  topicId: string,
  model: Model,
  it: Extract<Step, { do: "commit" }>,
) {
  const runId = RUNS[it.run] as string;
  const parts = it.counts.flatMap((recordCount, at) => {
    const known = model.partitions[at] as ModelPartition;
    return recordCount === 0 ? [] : [{ at, known, recordCount }];
  });
  if (parts.length === 0) return;
  const entries = parts.map(({ at, known, recordCount }) => ({
    topicId,
    partition: at,
    epoch: known.epoch,
    baseOffset: Math.max(0, known.next + it.off),
    recordCount,
  }));
  const flush = flushOf(runId, ++model.sequence, entries);
  const fenced = parts.filter(({ known }) => known.holder !== runId);
  const misplaced = entries.some((entry, i) => entry.baseOffset !== parts[i]?.known.next);
  if (fenced.length === 0 && misplaced) {
    await assert.rejects(metadata.commitFlush(flush), /goes on at offset/);
    assert.equal(await metadata.resolveFlush(flush), "absent");
    return;
  }
  const outcome = await metadata.commitFlush(flush);
  if (fenced.length > 0) {
    const partitions = fenced.map(({ at }) => ({ topicId, partition: at, reason: "fenced" }));
    assert.deepEqual(outcome, { status: "refused", partitions });
    return;
  }
  assert.deepEqual(outcome, { status: "committed" });
  const ends = new Map<number, number>();
  for (const { at, known, recordCount } of parts) {
    known.next += recordCount;
    ends.set(at, known.next);
  }
  model.flushes.push({ name: `${runId}/${flush.flushSequence}`, ends });
  model.last = flush;
}

/** The index is what the model says, and leaves no hole between log start and next offset. */
async function check(metadata: MetadataStore, topicId: string, model: Model) {
  const where = model.partitions.map((_, at) => ({ topicId, partition: at }));
  const bounds = await metadata.partitionBounds(where);
  assert.deepEqual(
    bounds.map((it) => [it.logStartOffset, it.nextOffset]),
    model.partitions.map((it) => [it.start, it.next]),
  );
  const flushes = await metadata.listFlushes(0, 1_000);
  assert.deepEqual(
    flushes.map(nameOf),
    model.flushes.map((it) => it.name),
  );
  for (const { partition: at, logStartOffset, nextOffset } of bounds) {
    let end: number | undefined;
    for (const { entries } of flushes) {
      for (const entry of entries) {
        if (entry.partition !== at || entry.baseOffset + entry.recordCount <= logStartOffset)
          continue;
        assert.ok(
          end === undefined ? entry.baseOffset <= logStartOffset : entry.baseOffset === end,
        );
        end = entry.baseOffset + entry.recordCount;
      }
    }
    assert.equal(end ?? logStartOffset, nextOffset);
  }
}

describe("committed flushes", () => {
  it("keep offsets contiguous, one writer, and the index whole, whatever happens in whatever order", async () => {
    const property = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const metadata = createSqliteMetadata({ path: ":memory:", clock: new ManualClock() });
      const spec = { name: "t", partitions: PARTITIONS, retentionMs: 0 };
      const topicId = (await metadata.createTopic(spec)).id;
      for (const runId of RUNS) await startRun(metadata, runId);
      const model = new Model();
      for (const it of steps) {
        await apply(metadata, topicId, model, it);
      }
      await check(metadata, topicId, model);
      // Whatever is dead is found in the end.
      for (let i = 0; i < 200; i++) await apply(metadata, topicId, model, { do: "drop", limit: 2 });
      assert.deepEqual(
        model.flushes.filter((flush) => model.isDead(flush)),
        [],
      );
      await check(metadata, topicId, model);
      await metadata.close();
    });
    await fc.assert(property, { numRuns: 150 });
  });
});
