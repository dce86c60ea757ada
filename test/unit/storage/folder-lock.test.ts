import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { openDataFolder } from "../../../src/storage/folder-lock.ts";
import { Child } from "../../integration/child.ts";
import { createFaultyFiles } from "./faulty-files.ts";
import { failure, scratchFolders } from "./scratch.ts";

const holder = fileURLToPath(new URL("./lock-holder.ts", import.meta.url));
const AT_ONCE = { waitMs: 0 };

describe("data folder", () => {
  const scratch = scratchFolders();

  async function heldByChild(dir: string): Promise<Child> {
    const child = new Child(holder, [dir]);
    await child.says("the child to hold the folder", (out) => out.includes("held"));
    return child;
  }

  it("is made with its parents, says its format, and names the places in it", async () => {
    const dir = join(await scratch(), "new", "data");
    const folder = await openDataFolder(dir);
    assert.deepEqual(JSON.parse(await readFile(join(dir, "streamhouse.json"), "utf8")), {
      format: 1,
    });
    assert.equal(folder.storeDir, join(dir, "store"));
    assert.equal(folder.metadataPath, join(dir, "metadata.db"));
    assert.deepEqual((await readdir(dir)).sort(), ["agent.lock", "streamhouse.json"]);
    folder.release();
    folder.release();
    (await openDataFolder(dir, AT_ONCE)).release();
  });

  it("belongs to one holder at a time in this process", async () => {
    const dir = await scratch();
    const folder = await openDataFolder(dir);
    const inUse = failure("DATA_FOLDER_IN_USE", "none", dir, "another agent");
    await assert.rejects(openDataFolder(dir, AT_ONCE), inUse);
    // The refused attempt did not take the holder's lock away.
    await assert.rejects(openDataFolder(dir, AT_ONCE), inUse);
    folder.release();
    (await openDataFolder(dir, AT_ONCE)).release();
  });

  it("belongs to one process at a time, and is free at once when that one is killed", async () => {
    const dir = await scratch();
    await using child = await heldByChild(dir);
    await assert.rejects(openDataFolder(dir, AT_ONCE), failure("DATA_FOLDER_IN_USE", "none", dir));
    child.process.kill("SIGKILL");
    // Not waiting for its end first: the default wait covers what the kernel needs to clear up.
    const folder = await openDataFolder(dir, { waitMs: 30_000 });
    assert.equal((await child.finished()).signal, "SIGKILL");
    const other = new Child(holder, [dir]);
    await other.says("the other child to be refused", (out) => out.includes("DATA_FOLDER_IN_USE"));
    await other.end("SIGKILL");
    folder.release();
  });

  it("is free when its holder lets go and stays alive", async () => {
    const dir = await scratch();
    const folder = await openDataFolder(dir);
    const waiting = openDataFolder(dir, { waitMs: 30_000 });
    folder.release();
    (await waiting).release();
  });

  it("of a newer version is refused, naming both versions, and left unlocked and as it is", async () => {
    const dir = await scratch();
    const text = '{"format":2,"new":"thing"}';
    await writeFile(join(dir, "streamhouse.json"), text);
    const tooNew = failure("METADATA_TOO_NEW", "none", dir, "format 2", "up to 1");
    await assert.rejects(openDataFolder(dir), tooNew);
    await assert.rejects(openDataFolder(dir), tooNew);
    assert.equal(await readFile(join(dir, "streamhouse.json"), "utf8"), text);
  });

  it("with a format file that says nothing is refused rather than guessed at", async () => {
    for (const text of [
      "",
      "{}",
      "null",
      "1",
      '{"format":"1"}',
      '{"format":0}',
      '{"format":1.5}',
    ]) {
      const dir = await scratch();
      await writeFile(join(dir, "streamhouse.json"), text);
      await assert.rejects(openDataFolder(dir), failure("DATA_FOLDER_UNUSABLE", "none", dir));
    }
  });

  it("that cannot be one is refused with its path and a cure", async () => {
    const dir = await scratch();
    const file = join(dir, "file");
    await writeFile(file, "x");
    const unusable = failure("DATA_FOLDER_UNUSABLE", "none", file, "choose another");
    await assert.rejects(openDataFolder(file), unusable);
    await assert.rejects(openDataFolder(join(file, "below")), unusable);
    await mkdir(join(dir, "agent.lock"));
    const noLock = failure("DATA_FOLDER_UNUSABLE", "none", join(dir, "agent.lock"));
    await assert.rejects(openDataFolder(dir), noLock);
    await rm(join(dir, "agent.lock"), { recursive: true });
    await writeFile(join(dir, "agent.lock"), "this is no lock of ours ".repeat(100));
    await assert.rejects(openDataFolder(dir), noLock);
  });

  it("that may not be written, or is full, is refused and left unlocked", async () => {
    const cases = [
      { operation: "makeDir", code: "EACCES", expected: "DATA_FOLDER_UNUSABLE" },
      { operation: "create", code: "EROFS", expected: "DATA_FOLDER_UNUSABLE" },
      { operation: "writev", code: "ENOSPC", expected: "STORE_FULL" },
      { operation: "datasync", code: "EIO", expected: "STORE_UNAVAILABLE" },
    ] as const;
    const dir = await scratch();
    for (const { operation, code, expected } of cases) {
      const files = createFaultyFiles();
      files.failing[operation] = [code];
      await assert.rejects(
        openDataFolder(dir, {}, { files }),
        failure(expected, "none", code, dir),
      );
      assert.equal((await readdir(dir)).includes("streamhouse.json"), false);
    }
    (await openDataFolder(dir, AT_ONCE)).release();
    assert.deepEqual((await readdir(dir)).sort(), ["agent.lock", "streamhouse.json"]);
  });
});
