/** The real file operations with faults put in front of them, and a log of what was called. */
import { basename } from "node:path";
import { type FolderFiles, systemFiles } from "../../../src/storage/folder-files.ts";

export type FileOperation =
  | "create"
  | "makeDir"
  | "syncDir"
  | "link"
  | "rename"
  | "remove"
  | FileCall;
type FileCall = "writev" | "datasync" | "close";

export interface FaultyFiles extends FolderFiles {
  /** `operation name`, in order. */
  readonly calls: string[];
  /** The next calls of an operation fail with these codes (`undefined`: that one goes well). */
  readonly failing: Partial<Record<FileOperation, (string | undefined)[]>>;
  /** The next writes take only so many bytes. */
  readonly shortWrites: number[];
  /** Files that were created and not closed. */
  readonly open: Set<string>;
  /** Called before each operation; what it returns is waited for. */
  before: (operation: FileOperation) => Promise<void>;
}

export function createFaultyFiles(): FaultyFiles {
  const calls: string[] = [];
  const failing: FaultyFiles["failing"] = {};
  const shortWrites: number[] = [];
  const open = new Set<string>();
  const call = async <T>(operation: FileOperation, path: string, work: () => Promise<T>) => {
    calls.push(`${operation} ${basename(path)}`);
    await files.before(operation);
    const code = failing[operation]?.shift();
    if (code !== undefined) throw Object.assign(new Error(`${code}: injected`), { code });
    return work();
  };
  const files: FaultyFiles = {
    calls,
    failing,
    shortWrites,
    open,
    before: async () => {},
    create: (path) =>
      call("create", path, async () => {
        const file = await systemFiles.create(path);
        open.add(path);
        return {
          writev: (parts, position) =>
            call("writev", path, () => {
              const max = shortWrites.shift();
              return file.writev(max === undefined ? parts : [first(parts, max)], position);
            }),
          datasync: () => call("datasync", path, () => file.datasync()),
          close: async () => {
            // However it is answered, the descriptor is gone.
            open.delete(path);
            await file.close();
            await call("close", path, async () => {});
          },
        };
      }),
    makeDir: (dir) => call("makeDir", dir, () => systemFiles.makeDir(dir)),
    syncDir: (dir) => call("syncDir", dir, () => systemFiles.syncDir(dir)),
    link: (from, to) => call("link", to, () => systemFiles.link(from, to)),
    rename: (from, to) => call("rename", to, () => systemFiles.rename(from, to)),
    remove: (path) => call("remove", path, () => systemFiles.remove(path)),
  };
  return files;
}

function first(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all.subarray(0, bytes);
}
