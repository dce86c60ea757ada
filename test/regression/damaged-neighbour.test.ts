/**
 * Broke: records could not be read although nothing was wrong with them, because bytes behind them were damaged; and the error told
 * the consumer to seek past the damage, and so past the good records.
 * Why: neighbours in one object are read at once, and one that failed its check failed the whole read.
 * Cure: the read answers what is sound before the damage. The next fetch begins at the damage and gets the error for it.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkRange } from "../../src/storage/store-errors.ts";
import {
  type BenchAgent,
  createTopic,
  failureOf,
  fetchValues,
  sendAndWait,
  startAgent,
} from "../unit/agent/bench-agent.ts";
import { MemoryStore, TestSink } from "../unit/agent/memory-store.ts";

async function start(): Promise<{ bench: BenchAgent; topicId: string }> {
  const store = new MemoryStore();
  const sink = new TestSink(store, { file: "segments/all.seg" });
  const bench = await startAgent({ store, sink, agent: { tailCacheBytesMax: 0 } });
  const topicId = await createTopic(bench, "t");
  for (const value of ["a", "b", "c"]) await sendAndWait(bench, "t", [value]);
  return { bench, topicId };
}

function lastIndexOf(bytes: Uint8Array, text: string): number {
  return new TextDecoder("latin1").decode(bytes).lastIndexOf(text);
}

describe("damage in an object", () => {
  it("leaves what lies before it readable, and is told where it is", async () => {
    const { bench, topicId } = await start();
    const [key, bytes] = [...bench.store.objects][0] ?? ["", new Uint8Array(0)];
    // The magic byte of the third flush's batch, which begins behind its chunk's header.
    const chunk = lastIndexOf(bytes, "SHCHUNK");
    const batch = chunk + new DataView(bytes.buffer).getUint32(chunk + 12);
    bytes[batch + 16] = 99;
    bench.store.objects.set(key, bytes);
    assert.deepEqual(await fetchValues(bench, topicId, 0), [
      [0, "a"],
      [1, "b"],
    ]);
    assert.equal((await failureOf(fetchValues(bench, topicId, 2))).code, "CORRUPT_SEGMENT");
    await bench.clock.until(bench.agent.stop());
  });

  it("leaves what lies before the end of a file that was cut off readable", async () => {
    const { bench, topicId } = await start();
    const [key, bytes] = [...bench.store.objects][0] ?? ["", new Uint8Array(0)];
    const cut = bytes.slice(0, lastIndexOf(bytes, "SHCHUNK") + 60);
    bench.store.objects.set(key, cut);
    bench.store.get = async (_key, range = { start: 0, length: cut.length }) => {
      checkRange(key, cut.length, range);
      return cut.slice(range.start, range.start + range.length);
    };
    assert.deepEqual(await fetchValues(bench, topicId, 1), [[1, "b"]]);
    assert.equal((await failureOf(fetchValues(bench, topicId, 2))).code, "CORRUPT_SEGMENT");
    await bench.clock.until(bench.agent.stop());
  });
});
