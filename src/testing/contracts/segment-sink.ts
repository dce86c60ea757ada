/** What every segment sink promises. Run by segment-sink.test.ts for each implementation. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { StreamHouseError } from "../../core/errors.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import type { SegmentSink } from "../../storage/segment-sink.ts";

/** How the contract gets a sink to look at. */
export interface SegmentSinkSubject {
  /** A sink for the run, and the store that reads what it wrote. Several runs share one store. */
  readonly create: (runId: string) => Promise<{ sink: SegmentSink; store: ObjectStore }>;
  readonly cleanUp?: () => Promise<void>;
}

const RUN = "01K0000000000000000000000A";
const OTHER_RUN = "01K0000000000000000000000B";

/** Declares the tests that every SegmentSink must pass, for `node:test` on any runtime. */
export function segmentSinkContract(name: string, subject: SegmentSinkSubject): void {
  describe(`segment sink contract: ${name}`, () => {
    let sink: SegmentSink;
    let store: ObjectStore;
    let sequence = 0;
    const next = () => ({ runId: RUN, sequence: ++sequence });
    before(async () => {
      ({ sink, store } = await subject.create(RUN));
    });
    after(async () => {
      await sink.close();
      await store.close();
      await subject.cleanUp?.();
    });
    const read = async (it: { key: string; position: number; length: number }) =>
      store.get(it.key, { start: it.position, length: it.length });

    it("can be read at once where it says that the chunk lies", async () => {
      const parts = [Uint8Array.of(1, 2), new Uint8Array(0), Uint8Array.of(3, 4, 5)];
      const location = await sink.append(parts, next());
      assert.equal(location.length, 5);
      assert.deepEqual(await read(location), Uint8Array.of(1, 2, 3, 4, 5));
    });

    it("keeps every chunk where it was when others follow", async () => {
      const written = [];
      for (let i = 0; i < 20; i++) {
        const chunk = new Uint8Array(100 + i).fill(i);
        written.push({ chunk, location: await sink.append([chunk], next()) });
      }
      for (const { chunk, location } of written) assert.deepEqual(await read(location), chunk);
    });

    it("takes as many appends at once as it says", async () => {
      assert.ok(Number.isInteger(sink.concurrency) && sink.concurrency >= 1);
      const chunks = Array.from({ length: sink.concurrency }, (_, i) => new Uint8Array(50).fill(i));
      const locations = await Promise.all(chunks.map((it) => sink.append([it], next())));
      for (const [i, location] of locations.entries()) {
        assert.deepEqual(await read(location), chunks[i]);
      }
    });

    it("takes a chunk of thousands of parts", async () => {
      const parts = Array.from({ length: 5_000 }, (_, i) => Uint8Array.of(i % 256, 1));
      const location = await sink.append(parts, next());
      const got = await read(location);
      assert.equal(got.length, 10_000);
      assert.ok(parts.every((part, i) => got[2 * i] === part[0] && got[2 * i + 1] === 1));
    });

    it("keeps runs apart in one store, whatever their sequences", async () => {
      const other = await subject.create(OTHER_RUN);
      const mine = await sink.append([Uint8Array.of(1)], next());
      const theirs = await other.sink.append([Uint8Array.of(2)], { runId: OTHER_RUN, sequence });
      assert.notEqual(mine.key, theirs.key);
      assert.deepEqual(await read(mine), Uint8Array.of(1));
      assert.deepEqual(await read(theirs), Uint8Array.of(2));
      await other.sink.close();
      await other.store.close();
    });

    it("writes nothing for a caller that gave up before", async () => {
      const signal = AbortSignal.abort(new Error("changed my mind"));
      await assert.rejects(sink.append([Uint8Array.of(1)], next(), signal), code("ABORTED"));
      const behind = await sink.append([Uint8Array.of(2)], next());
      assert.deepEqual(await read(behind), Uint8Array.of(2));
    });

    it("finishes what is under way when it is closed, then refuses, and closes twice", async () => {
      const { sink: closing, store: reads } = await subject.create(RUN);
      const append = closing.append([Uint8Array.of(9)], { runId: RUN, sequence: 1_000_000 });
      await closing.close();
      const { key, position, length } = await append;
      assert.deepEqual(await reads.get(key, { start: position, length }), Uint8Array.of(9));
      await assert.rejects(
        closing.append([Uint8Array.of(1)], { runId: RUN, sequence: 1_000_001 }),
        code("CLOSED"),
      );
      await closing.close();
      await reads.close();
    });
  });
}

function code(expected: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(StreamHouseError.is(error), String(error));
    assert.equal(error.code, expected, error.message);
    return true;
  };
}
