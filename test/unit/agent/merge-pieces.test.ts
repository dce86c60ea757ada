import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { joinPieces, PIECE_MS_MAX } from "../../../src/agent/merge-pieces.ts";
import { PartitionLog } from "../../../src/agent/partition-log.ts";
import type { ChunkIndexEntry } from "../../../src/format/chunk.ts";

const NOW = 1_700_000_000_000;

/** Shares of one partition, one behind the other in a segment. */
const sharesOf = fc
  .array(
    fc.record({
      recordCount: fc.integer({ min: 1, max: 9 }),
      length: fc.oneof(fc.integer({ min: 70, max: 2_000 }), fc.constant(200_000)),
      pauseMs: fc.oneof(fc.nat(300), fc.nat(5_000), fc.constant(-700)),
      maxTime: fc.nat(1_000),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map((rows) => {
    let [baseOffset, position, appendTimeMs] = [5, 0, NOW - 100_000];
    return rows.map(({ length, maxTime, pauseMs, recordCount }): ChunkIndexEntry => {
      appendTimeMs += pauseMs;
      const share = {
        ...{ topicId: "t", partition: 0, epoch: 3, position, length, baseOffset, recordCount },
        ...{ minTimestamp: maxTime, maxTimestamp: maxTime + 1, appendTimeMs },
      };
      baseOffset += recordCount;
      position += length;
      return share;
    });
  });

const endOf = (it: ChunkIndexEntry) => it.baseOffset + it.recordCount;

/** A log of flush shares, each in an object of its own. */
function logOf(shares: readonly ChunkIndexEntry[]): PartitionLog {
  const log = new PartitionLog("t", 0, 5);
  for (const [i, share] of shares.entries()) {
    const location = { key: `flush-${i}`, position: 0, length: share.length };
    log.append(location, { ...share, position: 0 });
  }
  return log;
}

function segmentOf(shares: readonly ChunkIndexEntry[]) {
  const [first, last] = [shares[0] as ChunkIndexEntry, shares.at(-1) as ChunkIndexEntry];
  const entries = joinPieces(
    shares.map((it) => ({ ...it, position: it.position - first.position })),
    NOW,
  );
  const length = last.position + last.length - first.position;
  return {
    ...{ topicId: "t", partition: 0, baseOffset: first.baseOffset, endOffset: endOf(last) },
    ...{ location: { key: `merged-${first.baseOffset}`, position: 0, length }, entries },
  };
}

describe("pieces of a merged segment", () => {
  it("hold every share once, in order, without a gap of bytes or offsets, and are bounded in bytes and time", () => {
    fc.assert(
      fc.property(sharesOf, (shares) => {
        const pieces = joinPieces(shares, NOW);
        let [offset, position, at] = [5, 0, 0];
        for (const piece of pieces) {
          assert.deepEqual([piece.baseOffset, piece.position], [offset, position]);
          offset = endOf(piece);
          position += piece.length;
          const own: ChunkIndexEntry[] = [];
          while (at < shares.length && endOf(shares[at] as ChunkIndexEntry) <= offset) {
            own.push(shares[at++] as ChunkIndexEntry);
          }
          const times = own.map((it) => it.appendTimeMs);
          assert.equal(piece.appendTimeMs, Math.min(...times));
          assert.deepEqual(
            times,
            times.toSorted((a, b) => a - b),
            "the clock never goes back in it",
          );
          const apart = Math.max(...times) - Math.min(...times);
          assert.ok(apart <= Math.max(1_000, (NOW - Math.max(...times)) / 100), `${apart} ms`);
          assert.ok(apart <= PIECE_MS_MAX);
          assert.ok(own.length === 1 || piece.length <= 262_144, `${piece.length} bytes`);
          assert.equal(piece.maxTimestamp, Math.max(...own.map((it) => it.maxTimestamp)));
          assert.equal(piece.minTimestamp, Math.min(...own.map((it) => it.minTimestamp)));
        }
        assert.equal(at, shares.length);
      }),
      { numRuns: 300 },
    );
  });

  it("are few where flushes are many: an hour of five a second is some hundreds", () => {
    const shares = Array.from({ length: 5 * 3_600 }, (_, i) => ({
      ...{ topicId: "t", partition: 0, epoch: 1, position: i * 100, length: 100 },
      ...{ baseOffset: i, recordCount: 1, minTimestamp: 0, maxTimestamp: 0 },
      appendTimeMs: NOW - 3_600_000 + i * 200,
    }));
    const pieces = joinPieces(shares, NOW);
    assert.ok(pieces.length < 600, `${pieces.length} pieces of ${shares.length} shares`);
  });
});

describe("a partition's log that is merged", () => {
  it("answers the same offsets, no time later and no record younger than before, and wakes nobody", () => {
    fc.assert(
      fc.property(sharesOf, fc.nat(59), fc.nat(59), fc.nat(59), (shares, a, b, trimAt) => {
        const plain = logOf(shares);
        const log = logOf(shares);
        let woken = 0;
        log.watch(() => woken++);
        const cuts = [a, b].map((it) => it % shares.length).sort((x, y) => x - y);
        const [first, second] = [
          shares.slice(0, (cuts[0] ?? 0) + 1),
          shares.slice((cuts[0] ?? 0) + 1, (cuts[1] ?? 0) + 1),
        ];
        assert.equal(log.merge(segmentOf(first)), true);
        assert.equal(log.merge(segmentOf(first)), false, "known");
        if (second.length > 0) assert.equal(log.merge(segmentOf(second)), true);
        assert.equal(woken, 0);
        const logStartOffset = shares[trimAt % shares.length]?.baseOffset ?? 0;
        const bounds = { logStartOffset, nextOffset: plain.highWatermark };
        for (const it of [plain, log]) it.raise(bounds);
        assert.equal(log.highWatermark, plain.highWatermark);
        for (const share of shares.filter((it) => it.baseOffset >= logStartOffset)) {
          const offset = share.baseOffset;
          const found = log.share(log.find(offset) ?? -1);
          assert.ok(found !== undefined && found.baseOffset <= offset && offset < found.endOffset);
          const [before, after] = [plain.oldestAppendFrom(offset), log.oldestAppendFrom(offset)];
          assert.ok(before !== undefined && after !== undefined && after <= before);
          assert.ok(
            before - after <= Math.max(1_000, (NOW - before) / 100),
            `${before - after} ms`,
          );
          const byTime = log.share(log.findTime(share.maxTimestamp) ?? -1);
          const exact = plain.share(plain.findTime(share.maxTimestamp) ?? -1);
          assert.ok(byTime !== undefined && exact !== undefined);
          assert.ok(byTime.baseOffset <= exact.baseOffset);
          // A piece that the log start lies in may have the time below it only.
          if (byTime.baseOffset >= logStartOffset) assert.ok(exact.baseOffset < byTime.endOffset);
          // Retention takes nothing that it would not have taken before.
          const since = share.appendTimeMs + 500;
          assert.ok(log.offsetAppendedSince(since) <= plain.offsetAppendedSince(since));
        }
      }),
      { numRuns: 300 },
    );
  });

  it("learns records from a merge that it knew of nowhere else, and tells whoever watches", () => {
    const log = new PartitionLog("t", 0, 5);
    let woken = 0;
    log.watch(() => woken++);
    const shares = [0, 1, 2].map((i) => ({
      ...{ topicId: "t", partition: 0, epoch: 1, position: i * 100, length: 100, recordCount: 10 },
      ...{ baseOffset: 5 + i * 10, minTimestamp: 0, maxTimestamp: 0, appendTimeMs: NOW },
    }));
    assert.equal(log.merge(segmentOf(shares)), true);
    assert.deepEqual([log.highWatermark, log.mergedUntil, log.logStart, woken], [35, 35, 5, 1]);
  });
});
