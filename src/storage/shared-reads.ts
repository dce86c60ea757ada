/**
 * Reads under way, shared: who wants bytes that somebody else is reading waits for that read. Each caller may go away by itself; a
 * read that nobody waits for any more is aborted. No more than so many run at once. Used by `caching.ts`.
 */
import { StreamHouseError } from "../core/errors.ts";
import { Semaphore } from "../core/semaphore.ts";
import type { ByteRange } from "./object-store.ts";
import { checkSignal } from "./store-errors.ts";

/** One read of the store. `start` 0 and no end: a whole object, of which nobody knows how long it is. */
export interface SharedRead {
  readonly start: number;
  readonly end: number;
  readonly bytes: Promise<Uint8Array>;
  /** False: the object was deleted meanwhile. */
  readonly keep: boolean;
}

interface Flight extends SharedRead {
  keep: boolean;
  waiters: number;
  settled: boolean;
  readonly abort: AbortController;
}

export class SharedReads {
  readonly #permits: Semaphore;
  readonly #flights = new Map<string, Flight[]>();

  constructor(readsMax: number) {
    this.#permits = new Semaphore(readsMax);
  }

  /** Reads under way or waiting for their turn. */
  get size(): number {
    let size = 0;
    for (const flights of this.#flights.values()) size += flights.length;
    return size;
  }

  /** A read under way that brings the range; without a range the whole object. */
  find(key: string, range?: ByteRange): SharedRead | undefined {
    const [start, end] = boundsOf(range);
    return this.#flights.get(key)?.find((it) => it.start <= start && it.end >= end);
  }

  /** Begins a read; `wait` for it before anything else is awaited. */
  begin(
    key: string,
    range: ByteRange | undefined,
    read: (signal: AbortSignal) => Promise<Uint8Array>,
  ): SharedRead {
    const abort = new AbortController();
    const [start, end] = boundsOf(range);
    const bytes = this.#permits.run(async () => {
      checkSignal(abort.signal, `reading ${key}`);
      return read(abort.signal);
    });
    const flight: Flight = { start, end, bytes, keep: true, waiters: 0, settled: false, abort };
    const flights = this.#flights.get(key);
    if (flights === undefined) this.#flights.set(key, [flight]);
    else flights.push(flight);
    const leave = (): void => {
      flight.settled = true;
      this.#leave(key, flight);
    };
    bytes.then(leave, leave);
    return flight;
  }

  /** The bytes of a read, unless the caller's own signal comes first. @throws StreamHouseError `ABORTED`, what the read throws */
  async wait(key: string, read: SharedRead, signal?: AbortSignal): Promise<Uint8Array> {
    const flight = read as Flight;
    flight.waiters++;
    try {
      return await unlessAborted(flight.bytes, key, signal);
    } finally {
      flight.waiters--;
      if (flight.waiters === 0 && !flight.settled) {
        // Nobody may join a read that is being aborted.
        this.#leave(key, flight);
        flight.abort.abort();
      }
    }
  }

  /** The object is being deleted: what is read of it now is not kept. */
  forget(key: string): void {
    for (const flight of this.#flights.get(key) ?? []) flight.keep = false;
    this.#flights.delete(key);
  }

  #leave(key: string, flight: Flight): void {
    const flights = this.#flights.get(key);
    const at = flights?.indexOf(flight) ?? -1;
    if (flights === undefined || at < 0) return;
    flights.splice(at, 1);
    if (flights.length === 0) this.#flights.delete(key);
  }
}

function boundsOf(range: ByteRange | undefined): readonly [start: number, end: number] {
  if (range === undefined) return [0, Number.POSITIVE_INFINITY];
  return [range.start, range.start + range.length];
}

function unlessAborted<T>(work: Promise<T>, key: string, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(aborted(key, signal));
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

function aborted(key: string, signal: AbortSignal): StreamHouseError {
  if (StreamHouseError.is(signal.reason)) return signal.reason;
  return new StreamHouseError({
    code: "ABORTED",
    kind: "closed",
    message: `reading ${key} was given up by its caller`,
    cause: signal.reason,
  });
}
