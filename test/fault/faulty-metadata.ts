/** Any metadata store with failures put in front of it, one fate for each call of a method. */
import { StreamHouseError } from "../../src/core/errors.ts";
import type { MetadataHint, MetadataStore } from "../../src/metadata/metadata-store.ts";

/**
 * `none`: certainly not applied · `applied`: applied, and the answer is lost · `lost`: not applied, and the caller cannot know ·
 * `hold`: applied when `release()` is called · `stuck`: never answers · `late`: not applied yet (outcome unknown), but it will be
 * when `release()` is called.
 */
export type Fate = "ok" | "none" | "applied" | "lost" | "hold" | "stuck" | "late";

export interface Faults {
  /** Fates of the next calls of a method; `ok` when there are none left. */
  readonly next: Partial<Record<keyof MetadataStore, Fate[]>>;
  /** Every call fails as not applied while this is set. */
  down: boolean;
  /** Hints of what others changed do not come through, as when the connection that listens hangs. */
  deaf: boolean;
  readonly calls: string[];
  readonly held: number;
  release(): void;
  /** The first of what is held, in the order of the calls: each goes on when it is called. */
  take(count: number): readonly (() => void)[];
}

export function withFaults(inner: MetadataStore): { metadata: MetadataStore; faults: Faults } {
  let waiting: (() => void)[] = [];
  const faults: Faults = {
    next: {},
    down: false,
    deaf: false,
    calls: [],
    get held() {
      return waiting.length;
    },
    release() {
      const go = waiting;
      waiting = [];
      for (const it of go) it();
    },
    take(count) {
      return waiting.splice(0, count);
    },
  };
  const call = async (name: string, work: () => Promise<unknown>): Promise<unknown> => {
    faults.calls.push(name);
    if (faults.down) throw unavailable("none");
    const fate = faults.next[name as keyof MetadataStore]?.shift() ?? "ok";
    switch (fate) {
      case "ok":
        return work();
      case "none":
        throw unavailable("none");
      case "lost":
        throw unavailable("unknown");
      case "applied":
        await work();
        throw unavailable("unknown");
      case "late":
        waiting.push(() => void work().catch(() => {}));
        throw unavailable("unknown");
      case "stuck":
        return new Promise(() => {});
      case "hold":
        await new Promise<void>((resolve) => waiting.push(resolve));
        return work();
    }
  };
  const metadata = new Proxy(inner, {
    get(target, name) {
      const member = Reflect.get(target, name, target) as unknown;
      if (typeof member !== "function") return member;
      if (name === "watch") {
        return (wake: (hint: MetadataHint) => void) =>
          target.watch((hint) => {
            if (!faults.deaf && !faults.down) wake(hint);
          });
      }
      return (...args: unknown[]) =>
        call(String(name), () => Reflect.apply(member, target, args) as Promise<unknown>);
    },
  });
  return { metadata, faults };
}

function unavailable(outcome: "none" | "unknown"): StreamHouseError {
  return new StreamHouseError({
    code: "METADATA_UNAVAILABLE",
    kind: "unavailable",
    outcome,
    message: "injected: the database does not answer",
  });
}
