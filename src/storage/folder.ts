/** Objects as files of a folder. */
import { closed } from "../core/errors.ts";
import type { ObjectStore } from "./object-store.ts";

/** `dir` is made at the first `put`. */
export function createFolderStore(_dir: string): ObjectStore {
  throw closed("folder store (not written yet)");
}
