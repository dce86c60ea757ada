/** A memory store whose operations fail, hang or lose their answers on command. For decorators and sinks over object stores. */
import type { Clock } from "../../../src/core/clock.ts";
import { StreamHouseError, type StreamHouseErrorInit } from "../../../src/core/errors.ts";
import { createMemoryStore } from "../../../src/storage/memory.ts";
import type { ObjectStore } from "../../../src/storage/object-store.ts";
import { abortedError } from "../../../src/storage/store-errors.ts";

/**
 * `fail`: before anything is done · `lose`: it is done, and the answer lost · `hang`: nothing, until its signal aborts ·
 * `land`: it hangs until its signal aborts, and is done then. A number: after so many ms of the clock.
 */
export type Fault = "fail" | "lose" | "hang" | "land" | number | StreamHouseError;

export interface FaultyStore extends ObjectStore {
  readonly inner: ObjectStore;
  /** For the next operations, in order; `undefined` lets one through. */
  readonly faults: (Fault | undefined)[];
  /** `put a`, `get b` … in order of their beginning. */
  readonly calls: string[];
}

export function unavailable(more: Partial<StreamHouseErrorInit> = {}): StreamHouseError {
  const all = { code: "STORE_UNAVAILABLE", kind: "unavailable", message: "injected" } as const;
  return new StreamHouseError({ ...all, ...more });
}

export function createFaultyStore(clock: Clock, remote = true): FaultyStore {
  const inner = createMemoryStore({ clock });
  const faults: (Fault | undefined)[] = [];
  const calls: string[] = [];
  const run = async <T>(
    name: string,
    signal: AbortSignal | undefined,
    work: (signal?: AbortSignal) => Promise<T>,
  ) => {
    calls.push(name);
    const fault = faults.shift();
    if (fault === undefined) return work(signal);
    if (fault === "fail") throw unavailable();
    if (typeof fault === "object") throw fault;
    if (fault === "lose") {
      await work();
      throw unavailable({ outcome: "unknown" });
    }
    await held(clock, signal, typeof fault === "number" ? fault : undefined);
    if (typeof fault === "number" && signal?.aborted !== true) return work();
    if (fault === "land") await work();
    throw abortedError(signal, { doing: name, writes: true });
  };
  return {
    ...{ kind: "faulty", remote, inner, faults, calls },
    put: (key, parts, signal) => run(`put ${key}`, signal, (it) => inner.put(key, parts, it)),
    get: (key, range, signal) => run(`get ${key}`, signal, (it) => inner.get(key, range, it)),
    head: (key, signal) => run(`head ${key}`, signal, (it) => inner.head(key, it)),
    delete: (keys, signal) => run(`delete ${keys}`, signal, (it) => inner.delete(keys, it)),
    /** A fault comes behind the second object. */
    async *list(prefix, startAfter, signal) {
      calls.push(`list ${startAfter ?? ""}`);
      const fault = faults.shift();
      let seen = 0;
      for await (const info of inner.list(prefix, startAfter, signal)) {
        yield info;
        if (++seen === 2 && fault !== undefined) throw unavailable();
      }
    },
    close: () => inner.close(),
  };
}

function held(clock: Clock, signal: AbortSignal | undefined, ms: number | undefined) {
  return new Promise<void>((resolve) => {
    const timer = ms === undefined ? undefined : clock.schedule(ms, resolve);
    const onAbort = () => {
      timer?.cancel();
      resolve();
    };
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
  });
}
