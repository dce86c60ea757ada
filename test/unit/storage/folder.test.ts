import assert from "node:assert/strict";
import { mkdir, readdir, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createFolderStore } from "../../../src/storage/folder.ts";
import { createFaultyFiles } from "./faulty-files.ts";
import { failure, scratchFolders } from "./scratch.ts";

const bytes = Uint8Array.of(1, 2, 3);

describe("folder store", () => {
  const scratch = scratchFolders();

  async function open() {
    const dir = await scratch();
    const files = createFaultyFiles();
    return { dir, files, store: createFolderStore(dir, { files }) };
  }

  it("writes, syncs, names, and syncs the directories, in that order", async () => {
    const { files, store } = await open();
    await store.put("a/b", [bytes]);
    const order = files.calls.map((it) => it.split(" ")[0]);
    assert.deepEqual(order.slice(0, 7), [
      "makeDir",
      "create",
      "writev",
      "datasync",
      "close",
      "link",
      "remove",
    ]);
    assert.ok(order.slice(7).every((it) => it === "syncDir"));
    assert.ok(order.length >= 9);
  });

  const before = [
    { operation: "create", code: "EACCES", expected: "DATA_FOLDER_UNUSABLE" },
    { operation: "writev", code: "ENOSPC", expected: "STORE_FULL" },
    { operation: "datasync", code: "EIO", expected: "STORE_UNAVAILABLE" },
    { operation: "close", code: "EIO", expected: "STORE_UNAVAILABLE" },
    { operation: "link", code: "EPERM", expected: "DATA_FOLDER_UNUSABLE" },
  ] as const;
  for (const { operation, code, expected } of before) {
    it(`leaves nothing behind when ${operation} fails with ${code}`, async () => {
      const { dir, files, store } = await open();
      files.failing[operation] = [code];
      await assert.rejects(store.put("a/b", [bytes]), failure(expected, "none", code));
      assert.deepEqual(await readdir(join(dir, "a")), []);
      assert.equal(files.open.size, 0);
      await store.put("a/b", [bytes]);
      assert.deepEqual(await store.get("a/b"), bytes);
    });
  }

  it("does not know the outcome when the directory's sync fails: the object may be there", async () => {
    const { files, store } = await open();
    files.failing.syncDir = ["EIO"];
    await assert.rejects(store.put("a", [bytes]), failure("STORE_UNAVAILABLE", "unknown"));
    assert.equal((await store.head("a"))?.size, 3);
  });

  it("neither lists nor reads unfinished files, and no links or sockets of others", async () => {
    const { dir, store } = await open();
    await store.put("a/b", [bytes]);
    await writeFile(join(dir, "a", ".unfinished"), "x");
    await symlink("/etc/passwd", join(dir, "a", "link"));
    const found: string[] = [];
    for await (const { key } of store.list("")) found.push(key);
    assert.deepEqual(found, ["a/b"]);
  });

  it("says what a folder in the place of an object is: not an object", async () => {
    const { dir, store } = await open();
    await mkdir(join(dir, "a/b"), { recursive: true });
    assert.equal(await store.head("a/b"), undefined);
    await assert.rejects(store.get("a/b"), failure("DATA_FOLDER_UNUSABLE"));
    await store.put("f", [bytes]);
    await assert.rejects(store.put("f/g", [bytes]), failure("DATA_FOLDER_UNUSABLE"));
    assert.equal(await store.head("f/g"), undefined);
  });

  it("names key and size when a file was cut short", async () => {
    const { dir, store } = await open();
    await store.put("a", [bytes]);
    await truncate(join(dir, "a"), 1);
    const short = failure("CORRUPT_SEGMENT", "none", "object a has 1 bytes");
    await assert.rejects(store.get("a", { start: 0, length: 3 }), short);
  });

  it("is empty, not broken, where there is no folder yet", async () => {
    const store = createFolderStore(join(await scratch(), "none"));
    for await (const { key } of store.list("")) assert.fail(key);
    assert.equal(await store.head("a"), undefined);
    await assert.rejects(store.get("a"), failure("OBJECT_NOT_FOUND"));
    await store.delete(["a"]);
  });
});
