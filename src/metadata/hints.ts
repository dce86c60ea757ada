/**
 * Hints of a store about its own changes: whoever watches in this process is told a moment after something changed, once for all that
 * changed meanwhile. Never says anything while the change is not committed. Put around the stores by `createSqliteMetadata` and
 * `createPostgresMetadata`.
 */
import type { Clock, Timer } from "../core/clock.ts";
import type { MetadataHint, MetadataStore } from "./metadata-store.ts";

/** Changes this close together are one hint. */
const HINT_MS = 10;

type Changing =
  | "createTopic"
  | "alterTopic"
  | "deleteTopic"
  | "startRun"
  | "retireRun"
  | "endRun"
  | "acquireLeases"
  | "releaseLeases"
  | "commitFlush"
  | "commitMerge"
  | "advanceLogStart";

/** What a call that succeeded may have changed. */
const hintsOf: Readonly<Record<Changing, MetadataHint>> = {
  createTopic: "assignment",
  alterTopic: "assignment",
  deleteTopic: "assignment",
  startRun: "assignment",
  retireRun: "assignment",
  endRun: "assignment",
  acquireLeases: "assignment",
  releaseLeases: "assignment",
  commitFlush: "log",
  commitMerge: "log",
  advanceLogStart: "log",
};

type Wake = (hint: MetadataHint) => void;
type Call = (...args: unknown[]) => Promise<unknown>;

/** The same store, whose changes are told to whoever watches. */
export function hintedMetadata(
  store: Omit<MetadataStore, "watch">,
  components: { readonly clock: Clock },
): MetadataStore {
  const watchers = new Set<{ readonly wake: Wake }>();
  const due = new Set<MetadataHint>();
  let timer: Timer | undefined;
  const fire = () => {
    timer = undefined;
    const hints = [...due];
    due.clear();
    for (const watcher of [...watchers]) {
      for (const hint of hints) if (watchers.has(watcher)) watcher.wake(hint);
    }
  };
  const changed = (hint: MetadataHint) => {
    if (watchers.size === 0) return;
    due.add(hint);
    timer ??= components.clock.schedule(HINT_MS, fire, { background: true });
  };
  const quiet = () => {
    due.clear();
    timer?.cancel();
    timer = undefined;
  };
  const hinting: Partial<Record<Changing, Call>> = {};
  for (const name of Object.keys(hintsOf) as Changing[]) {
    const call = store[name] as unknown as Call;
    hinting[name] = async (...args) => {
      const result = await call(...args);
      if (isChange(result)) changed(hintsOf[name]);
      return result;
    };
  }
  return {
    ...store,
    // Each call keeps the types that its caller sees; only in between they are unknown.
    ...(hinting as unknown as Pick<MetadataStore, Changing>),
    watch(wake) {
      const watcher = { wake };
      watchers.add(watcher);
      return () => {
        watchers.delete(watcher);
        if (watchers.size === 0) quiet();
      };
    },
    async close() {
      watchers.clear();
      quiet();
      await store.close();
    },
  };
}

/** Leases that were not granted, and commits that were refused, have changed nothing. */
function isChange(result: unknown): boolean {
  if (Array.isArray(result)) return result.length > 0;
  if (typeof result === "string") return result === "committed";
  if (typeof result !== "object" || result === null || !("status" in result)) return true;
  return result.status === "committed";
}
