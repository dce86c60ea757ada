import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { stampBatch } from "../../../src/format/batch-header.ts";
import { encodeChunk } from "../../../src/format/chunk.ts";
import { type ScanStep, scanChunks } from "../../../src/format/chunk-scan.ts";
import { chunkBytes, inputOf, joined, shareOf } from "./chunk-samples.ts";
import { batchOf, NOW, TOPIC_A } from "./samples.ts";

describe("scan of a segment", () => {
  it("finds every chunk, in order, and nothing in no bytes", async () => {
    const parts = await Promise.all([1, 2, 3].map(chunkBytes));
    const steps = [...scanChunks(joined(parts))];
    assert.deepEqual(
      steps.map((step) => step.kind === "chunk" && [step.position, step.chunk.flushSequence]),
      [
        [0, 1],
        [parts[0]?.length, 2],
        [2 * (parts[0]?.length ?? 0), 3],
      ],
    );
    assert.deepEqual([...scanChunks(new Uint8Array(0))], []);
  });

  it("says torn, at the right byte, wherever the last write was cut off", async () => {
    const [first, second] = [await chunkBytes(1), await chunkBytes(2)];
    for (let kept = 1; kept < second.length; kept++) {
      const [one, two, ...more] = scanChunks(joined([first, second.subarray(0, kept)]));
      assert.equal(one?.kind, "chunk");
      assert.equal(two?.kind, "torn", `${kept} bytes kept`);
      assert.equal(two?.position, first.length);
      assert.deepEqual(more, []);
    }
  });

  it("says torn for a tail of zeros or noise, as a power cut can leave it", async () => {
    const first = await chunkBytes(1);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.nat(500).map((n) => new Uint8Array(n + 1)),
          fc.uint8Array({ minLength: 1 }),
        ),
        (tail) => {
          const steps = [...scanChunks(joined([first, tail]))];
          assert.deepEqual(
            steps.map((step) => [step.kind, step.position]),
            [
              ["chunk", 0],
              ["torn", first.length],
            ],
          );
        },
      ),
    );
  });

  it("calls damage before a good chunk corrupt, and goes on where the header says", async () => {
    const [a, b, c] = [await chunkBytes(1), await chunkBytes(2), await chunkBytes(3)];
    const damaged = b.slice();
    damaged[b.length - 40] = (damaged[b.length - 40] ?? 0) ^ 1;
    const steps = [...scanChunks(joined([a, damaged, c]))];
    assert.deepEqual(
      steps.map((step) => [step.kind, step.position]),
      [
        ["chunk", 0],
        ["corrupt", a.length],
        ["chunk", a.length + b.length],
      ],
    );
  });

  it("calls damage in the last chunk torn: only metadata can know that it was whole once", async () => {
    const [a, b] = [await chunkBytes(1), await chunkBytes(2)];
    b[b.length - 40] = (b[b.length - 40] ?? 0) ^ 1;
    const steps = [...scanChunks(joined([a, b]))];
    assert.deepEqual(
      steps.map((step) => [step.kind, step.position]),
      [
        ["chunk", 0],
        ["torn", a.length],
      ],
    );
  });

  it("stops at a damaged header and only names where a chunk may go on", async () => {
    const [a, b, c] = [await chunkBytes(1), await chunkBytes(2), await chunkBytes(3)];
    const damaged = b.slice();
    damaged[9] = (damaged[9] ?? 0) ^ 1;
    const steps = [...scanChunks(joined([a, damaged, c]))];
    const [, corrupt] = steps;
    assert.equal(steps.length, 2);
    assert.ok(corrupt?.kind === "corrupt");
    assert.equal(corrupt.next, a.length + b.length);
    assert.equal(corrupt.sound, false);
    assert.equal([...scanChunks(joined([a, damaged, c]), corrupt.next)][0]?.kind, "chunk");
  });

  it("never takes a chunk that somebody sent as a value for one of its own", async () => {
    const inner = await chunkBytes(9);
    const share = await shareOf(TOPIC_A, 0, 3, 1_000, [1]);
    const smuggled = await batchOf([{ value: inner, timestamp: NOW }]);
    stampBatch(smuggled, 1_001, 3);
    const batches = [...share.batches, smuggled];
    const outer = joined(
      encodeChunk({ ...(await inputOf(1)), shares: [{ ...share, batches }] }).parts,
    );
    const found = (bytes: Uint8Array) =>
      [...scanChunks(bytes)].flatMap((step) =>
        step.kind === "chunk" ? [step.chunk.flushSequence] : [],
      );
    const last = await chunkBytes(2);
    assert.deepEqual(found(joined([outer, last])), [1, 2]);
    for (const at of [9, 50, 200, outer.length - 5]) {
      const damaged = outer.slice();
      damaged[at] = (damaged[at] ?? 0) ^ 1;
      assert.ok(!found(joined([damaged, last])).includes(9), `damaged at ${at}`);
    }
  });

  it("keeps its promises over any cut and any damage: what it yields was written, in its place", async () => {
    const chunks = await Promise.all([1, 2, 3, 4].map(chunkBytes));
    const whole = joined(chunks);
    const starts = chunks.map((_, i) => joined(chunks.slice(0, i)).length);
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 })), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(damage, fc.nat(whole.length), (changes, length) => {
        const bytes = whole.slice(0, length);
        for (const [at, mask] of changes) {
          if (at < length) bytes[at] = (bytes[at] ?? 0) ^ mask;
        }
        const steps = [...scanChunks(bytes)];
        for (const step of steps) checkStep(step, bytes, whole, starts);
        // Every byte is accounted for: each step begins where the one before ended.
        let end = 0;
        for (const step of steps) {
          assert.equal(step.position, end);
          end =
            step.kind === "chunk"
              ? end + step.chunk.length
              : step.kind === "torn"
                ? length
                : step.next;
        }
        const last = steps.at(-1);
        if (last?.kind !== "corrupt") assert.equal(end, length);
      }),
      { numRuns: 500 },
    );
  });

  it("does not try more than a bounded number of things that look like chunks", async () => {
    // Sound headers over bodies that are not: each would cost a checksum over all that follows.
    const fake = (await chunkBytes(1)).slice();
    fake[fake.length - 1] = (fake[fake.length - 1] ?? 0) ^ 1;
    const fakes = Array.from({ length: 200 }, () => fake);
    const steps = [
      ...scanChunks(joined([new Uint8Array(8).fill(1), ...fakes, await chunkBytes(2)])),
    ];
    assert.deepEqual(
      steps.map((step) => step.kind),
      ["torn"],
    );
  });
});

function checkStep(step: ScanStep, bytes: Uint8Array, whole: Uint8Array, starts: number[]): void {
  if (step.kind !== "chunk") return;
  assert.ok(starts.includes(step.position), `a chunk at ${step.position}`);
  const end = step.position + step.chunk.length;
  assert.deepEqual(bytes.subarray(step.position, end), whole.subarray(step.position, end));
}
