/** Objects in memory. */
import type { Clock } from "../core/clock.ts";
import { closed } from "../core/errors.ts";
import type { ObjectStore } from "./object-store.ts";

export function createMemoryStore(_components: { readonly clock?: Clock } = {}): ObjectStore {
  throw closed("memory store (not written yet)");
}
