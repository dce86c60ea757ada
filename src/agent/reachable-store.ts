/** A decorator that tells readiness how reads of the store go. Only silence is a store out of reach: a missing or damaged object is an answer. */
import { StreamHouseError } from "../core/errors.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { Reachability } from "./reachability.ts";

/** The same store. Goes under the cache, since what memory answers says nothing of the store, and over the retries. */
export function watchReads(store: ObjectStore, reachability: Reachability): ObjectStore {
  return {
    kind: store.kind,
    async get(...args) {
      try {
        const bytes = await store.get(...args);
        reachability.ok();
        return bytes;
      } catch (error) {
        if (StreamHouseError.is(error) && error.kind === "unavailable") reachability.failed();
        throw error;
      }
    },
    put: (...args) => store.put(...args),
    head: (...args) => store.head(...args),
    list: (...args) => store.list(...args),
    delete: (...args) => store.delete(...args),
    close: () => store.close(),
  };
}
