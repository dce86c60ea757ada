/** Folders: the repository's root, and scratch folders for data, which are removed at the end. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root: string = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");

/** Makes scratch folders under one parent, so that all data of a run lies on the same disk. */
export class Scratch {
  readonly #parent: string;

  /** Under `parent`, or under the system's folder for temporary files. */
  constructor(parent: string | undefined) {
    this.#parent = mkdtempSync(join(parent ?? tmpdir(), "streamhouse-bench-"));
  }

  folder(name: string): string {
    return mkdtempSync(join(this.#parent, `${name}-`));
  }

  remove(): void {
    rmSync(this.#parent, { recursive: true, force: true });
  }
}
