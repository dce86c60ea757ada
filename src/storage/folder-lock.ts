/**
 * The data folder of one agent: its lock, its format version, and where things lie in it. Holding the lock proves that no
 * other process works on the folder, so whoever held its leases before is dead. Called by `serve` and the tests.
 *
 * The lock is the operating system's, taken by SQLite: an exclusive transaction on `agent.lock` that is never committed. The
 * kernel frees it with the process, however that ends. Nothing else may open that file in this process: POSIX
 * drops all of a process's locks on a file when it closes *any* descriptor of it
 * (https://www.sqlite.org/howtocorrupt.html, section 2.2).
 */
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type Clock, sleep, systemClock } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import { createUuid } from "../core/ids.ts";
import { folderError, systemCode } from "./folder-errors.ts";
import { type FolderFiles, syncDirs, systemFiles, writeFully } from "./folder-files.ts";

/** A folder that this process holds until `release()` (or until it dies). Keep the object: the lock goes with it. */
export interface DataFolder {
  readonly dir: string;
  /** Directory for `createFolderStore` and `createFolderSink`: `<dir>/store`. */
  readonly storeDir: string;
  /** Path for `createSqliteMetadata`: `<dir>/metadata.db`. */
  readonly metadataPath: string;
  /** Idempotent. Close the stores first. */
  release(): void;
}

export interface DataFolderComponents {
  /** Default: the process's own. */
  readonly clock?: Clock | undefined;
  /** Default: the real file system. */
  readonly files?: FolderFiles | undefined;
}

export interface DataFolderOptions {
  /**
   * How long to wait for a holder to go away: one that was just killed has the lock until the kernel has cleared it up.
   * Default 1,000 ms.
   */
  readonly waitMs?: number | undefined;
}

/** What this program writes and reads. A folder of a newer one is refused, an older one will be migrated. */
const FORMAT = 1;
const LOCK_RETRY_MS = 25;

/**
 * Makes the folder if needed, locks it, and checks or writes its format version.
 * @throws StreamHouseError `DATA_FOLDER_IN_USE`, `DATA_FOLDER_UNUSABLE`, `METADATA_TOO_NEW`, `STORE_FULL`
 */
export async function openDataFolder(
  dir: string,
  options: DataFolderOptions = {},
  components: DataFolderComponents = {},
): Promise<DataFolder> {
  const files = components.files ?? systemFiles;
  const clock = components.clock ?? systemClock;
  try {
    const made = await files.makeDir(dir);
    if (made !== undefined) await syncDirs(files, dir, made);
  } catch (error) {
    throw folderError(error, { doing: "making data folder", path: dir });
  }
  const lock = await lockFolder(dir, clock, options.waitMs ?? 1_000);
  try {
    await checkFormat(dir, files);
  } catch (error) {
    lock.close();
    throw error;
  }
  let released = false;
  return {
    dir,
    storeDir: join(dir, "store"),
    metadataPath: join(dir, "metadata.db"),
    release() {
      if (released) return;
      released = true;
      lock.close();
    },
  };
}

async function lockFolder(dir: string, clock: Clock, waitMs: number): Promise<DatabaseSync> {
  const until = clock.monotonic() + waitMs;
  for (;;) {
    const lock = tryLock(dir);
    if (lock !== undefined) return lock;
    if (clock.monotonic() >= until) throw inUse(dir);
    await sleep(clock, LOCK_RETRY_MS);
  }
}

/** Undefined: somebody has it. */
function tryLock(dir: string): DatabaseSync | undefined {
  const path = join(dir, "agent.lock");
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path);
    // No journal file: the transaction is never committed, so there is nothing to roll back after a kill.
    database.exec("PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY;");
    database.exec("PRAGMA locking_mode = EXCLUSIVE;");
    database.exec("BEGIN EXCLUSIVE");
    // On a file that may not be written SQLite silently begins a reading transaction, which locks nobody
    // out: only a write shows it.
    database.exec("PRAGMA user_version = 1");
    return database;
  } catch (error) {
    database?.close();
    const text = error instanceof Error ? error.message : String(error);
    if (/\blocked\b/.test(text)) return undefined;
    throw new StreamHouseError({
      code: "DATA_FOLDER_UNUSABLE",
      kind: "invalid",
      message:
        `locking ${path} failed (${text}): make the folder writable for this user, or choose another one ` +
        "(network file systems without locks cannot be used)",
      cause: error,
    });
  }
}

function inUse(dir: string): StreamHouseError {
  return new StreamHouseError({
    code: "DATA_FOLDER_IN_USE",
    kind: "conflict",
    message:
      `data folder ${resolve(dir)} is in use by another agent: stop that one, or choose another folder ` +
      "(a folder belongs to one agent at a time)",
  });
}

async function checkFormat(dir: string, files: FolderFiles): Promise<void> {
  const path = join(dir, "streamhouse.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return writeFormat(dir, path, files);
    throw folderError(error, { doing: "reading", path });
  }
  const format = formatOf(text);
  if (format === undefined) {
    throw new StreamHouseError({
      code: "DATA_FOLDER_UNUSABLE",
      kind: "invalid",
      message: `${path} does not say which format the folder has ({"format":${FORMAT}} was expected): restore it, or choose another folder`,
    });
  }
  if (format <= FORMAT) return;
  throw new StreamHouseError({
    code: "METADATA_TOO_NEW",
    kind: "invalid",
    message:
      `data folder ${resolve(dir)} has format ${format}, this program knows formats up to ${FORMAT}: ` +
      "start the version of StreamHouse that wrote it, or a newer one",
  });
}

function formatOf(text: string): number | undefined {
  try {
    const { format } = JSON.parse(text) as { readonly format?: unknown };
    return typeof format === "number" && Number.isInteger(format) && format > 0
      ? format
      : undefined;
  } catch {
    return undefined;
  }
}

/** Whole or not at all: a file that is there but empty would lock its owner out after a power cut. */
async function writeFormat(dir: string, path: string, files: FolderFiles): Promise<void> {
  const unfinished = join(dir, `.${createUuid()}`);
  try {
    const file = await files.create(unfinished);
    try {
      await writeFully(file, [new TextEncoder().encode(`{"format":${FORMAT}}\n`)], 0);
      await file.datasync();
    } finally {
      await file.close();
    }
    await files.rename(unfinished, path);
    await files.syncDir(dirname(path));
  } catch (error) {
    await files.remove(unfinished).catch(() => {});
    throw folderError(error, { doing: "writing", path });
  }
}
