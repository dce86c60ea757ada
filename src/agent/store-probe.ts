/**
 * Whether the object store does what an agent needs of it, found out with an object that nobody else knows: at the start, so that a
 * wrong bucket or wrong credentials are an error at once and not at the first flush, nor one that belongs to another database, whose
 * records would be orphans here and be swept; and while a store that failed is away, so that
 * readiness learns of its return without traffic. It must leave nothing behind where it can. Called by the agent.
 */
import type { Clock } from "../core/clock.ts";
import { invalid, StreamHouseError } from "../core/errors.ts";
import { createUlid, type RandomBytes } from "../core/ids.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { createRetryingStore } from "../storage/retrying.ts";
import type { Reachability } from "./reachability.ts";

export interface StoreProbeComponents {
  /** Not measured and not retried: nothing of this is the agent's work. */
  readonly store: ObjectStore;
  readonly metadata: Pick<MetadataStore, "identity">;
  /** Of what is read, and of what is written: a store can answer questions and take no writes. */
  readonly reads: Reachability;
  readonly writes: Reachability;
  readonly clock: Clock;
  readonly random: RandomBytes;
}

/** How long a store that hiccups is asked again at the start, ms. */
const START_MS = 15_000;

/** Says whose records these are. */
export const OWNER_KEY = "owner";

const BYTES: readonly Uint8Array[] = [new Uint8Array([0x73, 0x68])];

export class StoreProbe {
  readonly #parts: StoreProbeComponents;
  /** One for the agent's life, so that where deleting fails one object is left, and not one for each look. */
  readonly #key: string;

  constructor(parts: StoreProbeComponents) {
    this.#parts = parts;
    this.#key = `probes/${createUlid(parts.clock.now(), parts.random)}`;
  }

  /**
   * A remote store takes a write, refuses to overwrite, deletes, and belongs to this metadata or to nobody yet. Others are looked at by
   * whoever opens them. @throws StreamHouseError `STORE_UNAVAILABLE`, `STORE_FULL`, saying what to mend; `NOT_SUPPORTED` if it
   * overwrites; `INVALID_ARGUMENT` (field `store`) if it is another database's
   */
  async check(): Promise<void> {
    const { clock, random, store } = this.#parts;
    if (store.remote !== true) return;
    const patient = createRetryingStore({ store, clock, random }, { deadlineMs: START_MS });
    // Where the first answer was lost the object is there already.
    await this.#isRefused(patient);
    if (!(await this.#isRefused(patient))) throw overwrites(store.kind);
    await patient.delete([this.#key]);
    await this.#claim(patient);
  }

  async #claim(store: ObjectStore): Promise<void> {
    const identity = await this.#parts.metadata.identity();
    try {
      await store.put(OWNER_KEY, [new TextEncoder().encode(identity)]);
      return;
    } catch (error) {
      if (!StreamHouseError.is(error) || error.code !== "OBJECT_EXISTS") throw error;
    }
    const owner = new TextDecoder().decode(await store.get(OWNER_KEY));
    if (owner !== identity) throw anothers(owner, identity);
  }

  /** Asks a store that failed whether it is back. @throws what it answers */
  async look(): Promise<void> {
    const { reads, store, writes } = this.#parts;
    if (reads.downForMs > 0) await reads.watch(store.head(this.#key));
    if (writes.downForMs === 0) return;
    await writes.watch(this.#write(store));
  }

  /** As long as nothing could be read, or nothing be written, whichever is longer; 0 while it does both. */
  get downForMs(): number {
    return Math.max(this.#parts.reads.downForMs, this.#parts.writes.downForMs);
  }

  async #write(store: ObjectStore): Promise<void> {
    await store.delete([this.#key]);
    await this.#isRefused(store);
    await store.delete([this.#key]).catch(() => {});
  }

  /** Whether the key was taken. */
  async #isRefused(store: ObjectStore): Promise<boolean> {
    try {
      await store.put(this.#key, BYTES);
      return false;
    } catch (error) {
      if (StreamHouseError.is(error) && error.code === "OBJECT_EXISTS") return true;
      throw error;
    }
  }
}

function anothers(owner: string, identity: string): StreamHouseError {
  return invalid(
    "INVALID_ARGUMENT",
    `the store holds records of the database ${owner.slice(0, 40)}, and metadata is the database ${identity}: name the ` +
      "database that belongs to it, or another bucket or prefix; if that database is lost for good and its records are of no " +
      `use, delete the object ${OWNER_KEY} there (what lies there is then swept after a day)`,
    { field: "store" },
  );
}

function overwrites(kind: string): StreamHouseError {
  return new StreamHouseError({
    code: "NOT_SUPPORTED",
    kind: "invalid",
    message:
      `the ${kind} store overwrote an object although it was told not to (If-None-Match: *): use a service with ` +
      "conditional writes, or records could be lost",
  });
}
