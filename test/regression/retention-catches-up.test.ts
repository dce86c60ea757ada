/**
 * Broke: an agent with very many dead flushes (started again after a long time, or with many partitions) did nothing else while it forgot
 * them: its leases ran out, and calls waited for minutes.
 * Why: one step followed the other without a turn of the event loop between them, and each looked every partition of every flush up
 * in the database (2.5 s for a thousand flushes of a thousand partitions). And a step that found few dead ones among those it
 * looked at was the round's last one.
 * Cure: small steps with a turn between them, until one finds nothing; each partition is looked up once in a step.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CompactionInstruments } from "../../src/agent/compaction-instruments.ts";
import { LogIndex } from "../../src/agent/log-index.ts";
import { Retention, type RetentionComponents } from "../../src/agent/retention.ts";
import { SegmentReferences } from "../../src/agent/segment-references.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLogger } from "../../src/core/logger.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createSqliteMetadata } from "../../src/metadata/sqlite.ts";
import { createMetricRegistry } from "../../src/telemetry/registry.ts";
import { MemoryStore } from "../unit/agent/memory-store.ts";

const FLUSHES = 1_500;

/** A topic with so many flushes of both its partitions. */
async function filled(): Promise<{ metadata: MetadataStore; topicId: string }> {
  const metadata = createSqliteMetadata({ path: ":memory:", clock: systemClock });
  const topic = await metadata.createTopic({ name: "t", partitions: 2, retentionMs: 1_000 });
  const run = { runId: "r", agentId: "a", address: "", ttlMs: 60_000 };
  await metadata.startRun({ ...run, predecessorsDead: true });
  const partitions = [0, 1].map((partition) => ({ topicId: topic.id, partition }));
  await metadata.acquireLeases("r", partitions);
  for (let i = 0; i < FLUSHES; i++) {
    await metadata.commitFlush({
      ...{ runId: "r", flushSequence: i + 1, producerStates: [] },
      location: { key: `segments/${i}.seg`, position: 0, length: 200 },
      entries: partitions.map((it) => ({
        ...{ ...it, epoch: 1, position: 100 * it.partition, length: 100 },
        ...{ baseOffset: i, recordCount: 1, minTimestamp: 0, maxTimestamp: 0, appendTimeMs: 0 },
      })),
    });
  }
  return { metadata, topicId: topic.id };
}

function retentionOf(metadata: MetadataStore): Retention {
  const segments = new SegmentReferences();
  const components = {
    ...{ metadata, segments, store: new MemoryStore(), clock: systemClock },
    ...{ index: new LogIndex({ metadata, segments }), logger: silentLogger },
    ...{ holdings: [], topics: { byId: () => undefined } },
    compaction: new CompactionInstruments(createMetricRegistry()),
  };
  return new Retention(components as unknown as RetentionComponents, { deleteGraceMs: 0 });
}

describe("retention with a long way to go", () => {
  it("lets others have their turn between its steps", async () => {
    const { metadata, topicId } = await filled();
    const both = [0, 1].map((partition) => ({ topicId, partition, logStartOffset: FLUSHES }));
    await metadata.advanceLogStart(both);
    let turns = 0;
    const others = setInterval(() => turns++, 0);
    await retentionOf(metadata).run();
    clearInterval(others);
    assert.ok(turns > 0, "nothing else ran");
    assert.deepEqual(await metadata.listFlushes(0, 10), []);
    await metadata.close();
  });

  it("forgets in one round what is dead behind flushes that are not", async () => {
    const { metadata, topicId } = await filled();
    // Of the first partition all is dead, of the other one only the newest: most flushes are looked at and stay.
    await metadata.advanceLogStart([{ topicId, partition: 0, logStartOffset: FLUSHES }]);
    await retentionOf(metadata).run();
    assert.equal((await metadata.listFlushes(0, 10_000)).length, FLUSHES);
    await metadata.advanceLogStart([{ topicId, partition: 1, logStartOffset: FLUSHES - 1 }]);
    await retentionOf(metadata).run();
    assert.equal((await metadata.listFlushes(0, 10_000)).length, 1);
    await metadata.close();
  });
});
