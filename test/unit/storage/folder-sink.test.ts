import assert from "node:assert/strict";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { ChunkLocation } from "../../../src/format/chunk.ts";
import { createFolderStore } from "../../../src/storage/folder.ts";
import { createFolderSink } from "../../../src/storage/folder-sink.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { createFaultyFiles } from "./faulty-files.ts";
import { failure, scratchFolders } from "./scratch.ts";

const RUN = "01K0000000000000000000000A";
const flush = (sequence: number) => ({ runId: RUN, sequence });

describe("folder sink", () => {
  const scratch = scratchFolders();

  async function open(fileBytesMax?: number) {
    const dir = join(await scratch(), "store");
    const files = createFaultyFiles();
    const clock = new ManualClock({ startMs: Date.UTC(2026, 4, 1, 23, 59) });
    const sink = createFolderSink({ dir, clock, files }, { fileBytesMax });
    const store = createFolderStore(dir);
    const read = ({ key, position, length }: ChunkLocation) =>
      store.get(key, { start: position, length });
    return { dir, files, clock, sink, read };
  }

  const chunk = (fill: number, length = 100) => new Uint8Array(length).fill(fill);

  it("syncs the file and every new directory before the first append is answered", async () => {
    const { files, sink } = await open();
    await sink.append([chunk(1), chunk(2)], flush(1));
    const file = `${RUN}-000000000001.seg`;
    const store = files.calls.find((it) => it.startsWith("syncDir streamhouse-test-"));
    assert.deepEqual(files.calls, [
      "makeDir 2026-05-01",
      `create ${file}`,
      "syncDir 2026-05-01",
      "syncDir segments",
      "syncDir store",
      store,
      `writev ${file}`,
      `datasync ${file}`,
    ]);
    files.calls.length = 0;
    await sink.append([chunk(3)], flush(2));
    assert.deepEqual(files.calls, [`writev ${file}`, `datasync ${file}`]);
    await sink.close();
    assert.equal(files.open.size, 0);
  });

  it("answers only after the sync", async () => {
    const { files, sink } = await open();
    let synced = false;
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    files.before = async (operation) => {
      if (operation !== "datasync") return;
      await held;
      synced = true;
    };
    const append = sink.append([chunk(1)], flush(1)).then(() => assert.ok(synced));
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(synced, false);
    release();
    await append;
    await sink.close();
  });

  it("goes on after short writes, in the middle of parts too", async () => {
    const { files, sink, read } = await open();
    files.shortWrites.push(1, 99, 30, 100);
    const location = await sink.append([chunk(1), new Uint8Array(0), chunk(2), chunk(3)], flush(1));
    const expected = new Uint8Array(300);
    expected.set(chunk(1), 0);
    expected.set(chunk(2), 100);
    expected.set(chunk(3), 200);
    assert.deepEqual(await read(location), expected);
    await sink.close();
  });

  it("does not spin on a file system that writes nothing", async () => {
    const { files, sink } = await open();
    files.shortWrites.push(0);
    await assert.rejects(
      sink.append([chunk(1)], flush(1)),
      failure("STORE_UNAVAILABLE", "unknown"),
    );
    await sink.close();
  });

  const faults = [
    { operation: "writev", code: "ENOSPC", expected: "STORE_FULL", outcome: "unknown" },
    { operation: "writev", code: "EIO", expected: "STORE_UNAVAILABLE", outcome: "unknown" },
    { operation: "writev", code: "EDQUOT", expected: "STORE_FULL", outcome: "unknown" },
    { operation: "datasync", code: "EIO", expected: "STORE_UNAVAILABLE", outcome: "unknown" },
    { operation: "datasync", code: "ENOSPC", expected: "STORE_FULL", outcome: "unknown" },
    { operation: "create", code: "EACCES", expected: "DATA_FOLDER_UNUSABLE", outcome: "none" },
    { operation: "create", code: "EMFILE", expected: "STORE_UNAVAILABLE", outcome: "none" },
    { operation: "makeDir", code: "EROFS", expected: "DATA_FOLDER_UNUSABLE", outcome: "none" },
    { operation: "makeDir", code: "ENOSPC", expected: "STORE_FULL", outcome: "none" },
    { operation: "syncDir", code: "EIO", expected: "STORE_UNAVAILABLE", outcome: "none" },
  ] as const;
  for (const { operation, code, expected, outcome } of faults) {
    it(`closes the file for ever when ${operation} fails with ${code}, and begins a new one`, async () => {
      const { files, sink, read } = await open();
      const inWrite = operation === "writev" || operation === "datasync";
      const before = inWrite ? await sink.append([chunk(1)], flush(1)) : undefined;
      files.failing[operation] = [code];
      await assert.rejects(
        sink.append([chunk(2)], flush(2)),
        failure(expected, outcome, code, "segments"),
      );
      files.calls.length = 0;
      const after = await sink.append([chunk(3)], flush(3));
      // Nothing but its close happens to the old file: no second sync, no second write.
      const old = files.calls.filter((it) => /^(?!close).*-00000000000[12]\.seg/.test(it));
      assert.deepEqual(old, []);
      assert.equal(after.key, `segments/2026-05-01/${RUN}-000000000003.seg`);
      assert.equal(after.position, 0);
      assert.deepEqual(await read(after), chunk(3));
      if (before !== undefined) assert.deepEqual(await read(before), chunk(1));
      await sink.close();
      assert.equal(files.open.size, 0);
    });
  }

  it("closes a file whose write ended half-way, and writes nothing behind the torn bytes", async () => {
    const { dir, files, sink, read } = await open();
    const before = await sink.append([chunk(1)], flush(1));
    files.shortWrites.push(40);
    files.failing.writev = [undefined, "ENOSPC"];
    await assert.rejects(sink.append([chunk(2)], flush(2)), failure("STORE_FULL", "unknown"));
    await sink.append([chunk(3)], flush(3));
    assert.equal((await stat(join(dir, before.key))).size, 140);
    assert.deepEqual(await read(before), chunk(1));
    await sink.close();
  });

  it("fails on a full disk as often as it is full, and works again once it is not", async () => {
    const { files, sink, read } = await open();
    files.failing.writev = ["ENOSPC", "ENOSPC", "ENOSPC"];
    for (const sequence of [1, 2, 3]) {
      await assert.rejects(
        sink.append([chunk(1)], flush(sequence)),
        failure("STORE_FULL", "unknown"),
      );
    }
    assert.deepEqual(await read(await sink.append([chunk(4)], flush(4))), chunk(4));
    await sink.close();
    assert.equal(files.open.size, 0);
  });

  it("is not disturbed by a close that fails: what it answered was synced", async () => {
    const { files, sink, read } = await open(150);
    files.failing.close = ["EIO", "EIO"];
    const first = await sink.append([chunk(1)], flush(1));
    const second = await sink.append([chunk(2)], flush(2));
    assert.notEqual(first.key, second.key);
    assert.deepEqual(await read(first), chunk(1));
    await sink.close();
  });

  it("rolls to a new file before one would grow beyond its limit, named for the flush and its day", async () => {
    const { clock, sink } = await open(250);
    const keys: string[] = [];
    for (let sequence = 1; sequence <= 5; sequence++) {
      keys.push((await sink.append([chunk(sequence)], flush(sequence))).key);
      clock.advance(60_000);
    }
    assert.deepEqual(keys, [
      `segments/2026-05-01/${RUN}-000000000001.seg`,
      `segments/2026-05-01/${RUN}-000000000001.seg`,
      `segments/2026-05-02/${RUN}-000000000003.seg`,
      `segments/2026-05-02/${RUN}-000000000003.seg`,
      `segments/2026-05-02/${RUN}-000000000005.seg`,
    ]);
    // A chunk larger than the limit gets a file for itself.
    const large = await sink.append([chunk(6, 1_000)], flush(6));
    assert.equal(large.position, 0);
    assert.notEqual((await sink.append([chunk(7)], flush(7))).key, large.key);
    await sink.close();
  });

  it("keeps appends in order that were not waited for", async () => {
    const { sink, read } = await open();
    const appends = Array.from({ length: 10 }, (_, i) => sink.append([chunk(i)], flush(i + 1)));
    const locations = await Promise.all(appends);
    assert.deepEqual(
      locations.map((it) => it.position),
      Array.from({ length: 10 }, (_, i) => i * 100),
    );
    for (const [i, location] of locations.entries()) {
      assert.deepEqual(await read(location), chunk(i));
    }
    await sink.close();
  });

  it("never opens a file that is there: another run's bytes are not touched", async () => {
    const { dir, sink } = await open();
    await sink.append([chunk(1)], flush(1));
    await sink.close();
    const clock = new ManualClock({ startMs: Date.UTC(2026, 4, 1) });
    const again = createFolderSink({ dir, clock });
    await assert.rejects(
      again.append([chunk(2)], flush(1)),
      failure("STORE_UNAVAILABLE", "none", "EEXIST"),
    );
    await again.close();
    assert.deepEqual(await readdir(join(dir, "segments/2026-05-01")), [`${RUN}-000000000001.seg`]);
  });

  it("begins a new file with each run, named after it", async () => {
    const { dir, sink } = await open();
    const next = "01K0000000000000000000000B";
    await sink.append([chunk(1)], flush(1));
    await sink.append([chunk(2)], { runId: next, sequence: 2 });
    await sink.append([chunk(3)], { runId: next, sequence: 3 });
    await sink.close();
    const names = await readdir(join(dir, "segments/2026-05-01"));
    assert.deepEqual(names.sort(), [`${RUN}-000000000001.seg`, `${next}-000000000002.seg`]);
  });

  it("makes no file before the first append", async () => {
    const { dir, sink } = await open();
    await sink.close();
    await assert.rejects(stat(dir), { code: "ENOENT" });
  });
});
