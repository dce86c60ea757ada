import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { PartitionLog } from "../../../src/agent/partition-log.ts";
import type { ChunkIndexEntry, ChunkLocation } from "../../../src/format/chunk.ts";

interface Row {
  readonly base: number;
  readonly end: number;
  readonly length: number;
  readonly appended: number;
  readonly maxTime: number;
}

function append(log: PartitionLog, row: Row, i: number): boolean {
  const location: ChunkLocation = { key: `k${i >> 2}`, position: i * 1_000, length: 900 };
  const entry: ChunkIndexEntry = {
    topicId: "t",
    partition: 0,
    epoch: 1,
    position: 64,
    length: row.length,
    baseOffset: row.base,
    recordCount: row.end - row.base,
    minTimestamp: 0,
    maxTimestamp: row.maxTime,
    appendTimeMs: row.appended,
  };
  return log.append(location, entry);
}

const rowsOf = fc
  .array(
    fc.record({
      count: fc.integer({ min: 1, max: 50 }),
      length: fc.integer({ min: 70, max: 5_000 }),
      appended: fc.nat({ max: 100 }),
      maxTime: fc.nat({ max: 100 }),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map((shares) => {
    let base = 10;
    return shares.map(({ count, ...rest }) => {
      const row = { base, end: base + count, ...rest };
      base += count;
      return row;
    });
  });

function logOf(rows: readonly Row[]): PartitionLog {
  const log = new PartitionLog("t", 0, 10);
  rows.forEach((row, i) => {
    assert.ok(append(log, row, i));
  });
  return log;
}

/** The same by looking at every row. */
class Model {
  readonly rows: readonly Row[];
  constructor(rows: readonly Row[], logStart: number) {
    this.rows = rows.filter((it) => it.end > logStart);
  }
  at(offset: number): Row | undefined {
    return this.rows.find((it) => offset < it.end);
  }
}

describe("a partition's log", () => {
  it("answers offsets, times and bytes as a look at every share would, also after retention", () => {
    fc.assert(
      fc.property(rowsOf, fc.nat({ max: 3_000 }), fc.nat({ max: 110 }), (rows, cut, time) => {
        const log = logOf(rows);
        const end = rows.at(-1)?.end ?? 0;
        const logStart = Math.min(10 + cut, end);
        log.raise({ logStartOffset: logStart, nextOffset: end });
        const model = new Model(rows, logStart);
        assert.equal(log.highWatermark, end);
        assert.equal(log.logStart, logStart);
        assert.equal(log.size, model.rows.length);
        for (const row of model.rows) {
          for (const offset of [row.base, row.end - 1]) {
            const found = log.share(log.find(offset) ?? -1);
            assert.equal(found?.baseOffset, row.base);
            assert.equal(found?.endOffset, row.end);
            assert.equal(log.appendTimeAt(offset), row.appended);
            const rest = model.rows.filter((it) => it.base >= row.base).map((it) => it.appended);
            assert.equal(log.oldestAppendFrom(offset), Math.min(...rest));
          }
        }
        assert.equal(log.find(end), undefined);
        assert.equal(log.oldestAppendFrom(end), model.rows.at(-1)?.appended);
        const byTime = model.rows.find((it) => it.maxTime >= time)?.base;
        assert.equal(log.share(log.findTime(time) ?? -1)?.baseOffset, byTime);
        const since = model.rows.find((it) => it.appended >= time)?.base ?? end;
        assert.equal(log.offsetAppendedSince(time), since);
        const all = model.rows.reduce((sum, it) => sum + it.length, 0);
        assert.equal(log.bytesFrom(logStart, Number.POSITIVE_INFINITY), logStart < end ? all : 0);
      }),
      { numRuns: 300 },
    );
  });

  it("leaves out what it has already, wakes whoever watches, and never lowers a bound", () => {
    const log = new PartitionLog("t", 0, 0);
    let woken = 0;
    const unwatch = log.watch(() => woken++);
    const row = { base: 0, end: 5, length: 100, appended: 1, maxTime: 1 };
    assert.equal(append(log, row, 0), true);
    assert.equal(append(log, row, 0), false);
    assert.equal(woken, 1);
    unwatch();
    assert.equal(log.watchers, 0);
    log.raise({ logStartOffset: 3, nextOffset: 5 });
    log.raise({ logStartOffset: 1, nextOffset: 2 });
    assert.equal(log.logStart, 3);
    assert.equal(log.highWatermark, 5);
  });

  it("knows where it ends when retention has deleted everything", () => {
    const log = new PartitionLog("t", 0, 0);
    log.raise({ logStartOffset: 40, nextOffset: 40 });
    assert.equal(log.highWatermark, 40);
    assert.ok(append(log, { base: 40, end: 41, length: 70, appended: 1, maxTime: 1 }, 0));
  });
});
