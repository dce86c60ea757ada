import assert from "node:assert/strict";
import { appendFile, open, truncate } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type DecodedChunk, encodeChunk } from "../../../src/format/chunk.ts";
import { offsetGaps, type ScannedSegment, scanFolder } from "../../../src/storage/folder-scan.ts";
import { createFolderSink } from "../../../src/storage/folder-sink.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { inputOf, RUN, shareOf } from "../format/chunk-samples.ts";
import { NOW, TOPIC_A } from "../format/samples.ts";
import { createFaultyFiles } from "./faulty-files.ts";
import { scratchFolders } from "./scratch.ts";

async function scan(dir: string): Promise<ScannedSegment[]> {
  const found: ScannedSegment[] = [];
  for await (const segment of scanFolder(dir)) found.push(segment);
  return found;
}

const sequences = (segment: ScannedSegment | undefined) =>
  segment?.chunks.map((it) => it.flushSequence);

describe("folder scan", () => {
  const scratch = scratchFolders();

  async function written(count: number) {
    const dir = await scratch();
    const files = createFaultyFiles();
    const clock = new ManualClock({ startMs: NOW });
    const sink = createFolderSink({ dir, clock, files });
    const append = async (sequence: number) =>
      sink.append(encodeChunk(await inputOf(sequence)).parts, { runId: RUN, sequence });
    const locations = [];
    for (let sequence = 1; sequence <= count; sequence++) locations.push(await append(sequence));
    return { dir, files, sink, append, locations };
  }

  it("finds every chunk where the sink said that it lies", async () => {
    const { dir, sink, locations } = await written(3);
    await sink.close();
    const [segment, ...rest] = await scan(dir);
    assert.deepEqual(rest, []);
    assert.deepEqual(sequences(segment), [1, 2, 3]);
    assert.deepEqual(
      segment?.chunks.map(({ position, length }) => ({ key: segment.key, position, length })),
      locations,
    );
    assert.equal(segment?.torn, undefined);
    assert.deepEqual(segment?.corrupt, []);
  });

  it("finds what was answered, and a torn tail, after a write that ended half-way", async () => {
    const { dir, files, sink, append } = await written(2);
    files.shortWrites.push(100);
    files.failing.writev = [undefined, "ENOSPC"];
    await assert.rejects(append(3));
    await append(4);
    await sink.close();
    const [first, second] = await scan(dir);
    assert.deepEqual(sequences(first), [1, 2]);
    assert.equal(first?.torn?.position, first === undefined ? -1 : first.size - 100);
    assert.deepEqual(sequences(second), [4]);
    assert.equal(second?.torn, undefined);
  });

  it("loses nothing complete wherever the file is cut off", async () => {
    const { dir, sink, locations } = await written(3);
    await sink.close();
    const path = join(dir, locations[0]?.key ?? "");
    const third = locations[2];
    assert.ok(third !== undefined);
    for (let cut = third.position + third.length - 1; cut > third.position; cut -= 37) {
      await truncate(path, cut);
      const [segment] = await scan(dir);
      assert.deepEqual(sequences(segment), [1, 2]);
      assert.equal(segment?.torn?.position, third.position);
    }
    await truncate(path, third.position);
    assert.equal((await scan(dir))[0]?.torn, undefined);
    await appendFile(path, new Uint8Array(50));
    assert.equal((await scan(dir))[0]?.torn?.position, third.position);
  });

  it("reports damage between complete chunks, and goes on behind it", async () => {
    const { dir, sink, locations } = await written(3);
    await sink.close();
    const second = locations[1];
    assert.ok(second !== undefined);
    const file = await open(join(dir, second.key), "r+");
    await file.write(Uint8Array.of(0xff), 0, 1, second.position + second.length - 6);
    await file.close();
    const [segment] = await scan(dir);
    assert.deepEqual(sequences(segment), [1, 3]);
    assert.deepEqual(
      segment?.corrupt.map((it) => it.position),
      [second.position],
    );
  });

  it("is empty where there is nothing", async () => {
    assert.deepEqual(await scan(join(await scratch(), "none")), []);
  });
});

describe("offset gaps", () => {
  async function chunkOf(sequence: number, epoch: number, base: number, count: number) {
    const shares = [await shareOf(TOPIC_A, 0, epoch, base, [count])];
    const input = { runId: RUN, flushSequence: sequence, appendTimeMs: NOW, shares };
    const { entries, length } = encodeChunk(input);
    const chunk: DecodedChunk = { ...input, position: 0, length, entries };
    return chunk;
  }
  const gapsOf = async (...chunks: readonly [number, number, number, number][]) =>
    offsetGaps(await Promise.all(chunks.map((it) => chunkOf(...it)))).map((it) => [it.from, it.to]);

  it("are none where chunks follow one another, in whatever order they are found", async () => {
    assert.deepEqual(await gapsOf([1, 1, 0, 5], [2, 1, 5, 2], [1, 2, 7, 1]), []);
    assert.deepEqual(await gapsOf([1, 2, 7, 1], [2, 1, 5, 2], [1, 1, 0, 5]), []);
  });

  it("are none where a later chunk cuts off what was never committed", async () => {
    assert.deepEqual(await gapsOf([1, 1, 0, 5], [2, 1, 5, 9], [3, 1, 5, 2], [1, 2, 7, 1]), []);
  });

  it("are what no chunk holds", async () => {
    assert.deepEqual(await gapsOf([1, 1, 0, 5], [2, 1, 8, 2], [3, 1, 11, 1]), [
      [5, 8],
      [10, 11],
    ]);
    assert.deepEqual(await gapsOf([1, 1, 0, 5], [2, 1, 8, 2], [1, 2, 5, 9]), []);
  });
});
