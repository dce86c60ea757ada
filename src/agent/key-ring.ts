/**
 * The keys of the cluster, as this agent remembers them: all of them, for a few seconds. A call with a good key asks nobody. Whatever is
 * shown that is not among them costs metadata no more than one question now and then, however many there are. Never holds a secret:
 * hashes only. Called by `access.ts`.
 */
import type { AccessRight } from "../core/access.ts";
import { bearerToken, parseApiKey } from "../core/api-key.ts";
import { type Clock, sleep } from "../core/clock.ts";
import { StreamHouseError } from "../core/errors.ts";
import { hashSecret, sameHash } from "../core/secret-hash.ts";
import type { KeyStore, StoredApiKey } from "../metadata/key-store.ts";

/** A key that was shown and found good. */
export interface Principal {
  readonly keyId: string;
  readonly name: string;
  readonly rights: readonly AccessRight[];
}

/** Why a caller is nobody: `unknown` also where the secret is another than that of the id. */
export type Stranger = "missing" | "malformed" | "unknown" | "expired";

/** What a caller shows, read once: what is kept of it while its calls go on. */
export interface ShownKey {
  readonly id: string;
  readonly secretHash: Uint8Array;
}

/** A list this old is read anew, and its readers wait for that. */
const FRESH_MS = 5_000;
/** From here on it is read anew while it is used, so that those who call all the time never wait. */
const REFRESH_MS = 2_500;
/** How long callers wait for a new list before they take the old one, and how long after a failure they do not ask again. */
const PATIENCE_MS = 1_000;
/** While metadata cannot be reached, the keys that are known are believed for this long. */
const STALE_MS = 30_000;
/** From one reading for keys that are not known to the next. */
const MISS_PAUSE_MS = 500;
/** Calls that wait because their key is not known; more are sent away at once. */
const WAITING_MAX = 1_000;

interface KnownKey {
  readonly stored: StoredApiKey;
  readonly principal: Principal;
  /** By the monotonic clock; infinite for a key that does not expire. */
  readonly expiresAt: number;
}

interface Ring {
  readonly keys: ReadonlyMap<string, KnownKey>;
  /** By the monotonic clock, before metadata was asked. */
  readonly askedAt: number;
}

/** For ids that nobody has: the comparison takes place all the same. */
const nobodysHash = new Uint8Array(32);

export class KeyRing {
  readonly #store: Pick<KeyStore, "listKeys">;
  readonly #clock: Clock;
  #ring: Ring = { keys: new Map(), askedAt: Number.NEGATIVE_INFINITY };
  #reading: Promise<void> | undefined;
  /** A reading that has been waited for in vain. */
  #slow: Promise<void> | undefined;
  /** Counts `forget`: what was asked for before the last one is out of date. */
  #changes = 0;
  #failedAt = Number.NEGATIVE_INFINITY;
  #missedAt = Number.NEGATIVE_INFINITY;
  /** The one reading that all wait for whose key is not known. */
  #miss: Promise<void> | undefined;
  #waiting = 0;

  constructor(components: { readonly store: Pick<KeyStore, "listKeys">; readonly clock: Clock }) {
    this.#store = components.store;
    this.#clock = components.clock;
  }

  /** How many keys are known. */
  get size(): number {
    return this.#ring.keys.size;
  }

  /** Whether there is a key like this; at once where it is known. @throws StreamHouseError `METADATA_UNAVAILABLE`, `OVERLOADED` */
  find(shown: ShownKey): Principal | Stranger | Promise<Principal | Stranger> {
    const age = this.#age();
    if (age >= FRESH_MS) return this.#findLater(shown);
    const known = this.#ring.keys.get(shown.id);
    if (known === undefined) return this.#findUnknown(shown);
    if (age >= REFRESH_MS) this.#refreshBehind();
    return this.#verify(shown, known);
  }

  /** What is known is out of date: the next call asks. */
  forget(): void {
    this.#changes++;
    this.#reading = undefined;
    this.#ring = { keys: this.#ring.keys, askedAt: Number.NEGATIVE_INFINITY };
  }

  async #findLater(shown: ShownKey): Promise<Principal | Stranger> {
    await this.#refreshed();
    const known = this.#ring.keys.get(shown.id);
    return known === undefined ? this.#findUnknown(shown) : this.#verify(shown, known);
  }

  /** It may have been made since the list was read: one more reading is waited for, together with all others that are not known. */
  async #findUnknown(shown: ShownKey): Promise<Principal | Stranger> {
    if (this.#waiting >= WAITING_MAX) throw tooManyStrangers();
    this.#waiting++;
    try {
      this.#miss ??= this.#readForMiss();
      await this.#miss;
    } finally {
      this.#waiting--;
    }
    return this.#verify(shown, this.#ring.keys.get(shown.id));
  }

  async #readForMiss(): Promise<void> {
    const pause = this.#missedAt + MISS_PAUSE_MS - this.#clock.monotonic();
    // Never at once, so that what is set here is set after the caller has it.
    await (pause > 0 ? sleep(this.#clock, pause) : undefined);
    // One that is under way may have begun before the key was made; so has this one for whoever comes from now on.
    await this.#reading?.catch(() => {});
    this.#missedAt = this.#clock.monotonic();
    this.#miss = undefined;
    await this.#read();
  }

  #verify(shown: ShownKey, known: KnownKey | undefined): Principal | Stranger {
    const same = sameHash(shown.secretHash, known?.stored.secretHash ?? nobodysHash);
    if (known === undefined || !same) return "unknown";
    return this.#clock.monotonic() < known.expiresAt ? known.principal : "expired";
  }

  #age(): number {
    return this.#clock.monotonic() - this.#ring.askedAt;
  }

  #refreshBehind(): void {
    if (this.#reading !== undefined || this.#isTroubled()) return;
    this.#read().catch(() => {});
  }

  /** Waits for a new list; takes the old one if it does not come, as long as that is not too old. */
  async #refreshed(): Promise<void> {
    const usable = () => this.#age() < STALE_MS;
    if (this.#isTroubled() && usable()) return this.#refreshBehind();
    const reading = this.#read();
    if (!usable()) return reading;
    const patience = new AbortController();
    const late = sleep(this.#clock, PATIENCE_MS, patience.signal).then(
      () => {
        this.#slow = reading;
      },
      () => {},
    );
    try {
      await Promise.race([reading, late]);
    } catch (error) {
      if (!usable()) throw error;
    } finally {
      patience.abort();
    }
  }

  #isTroubled(): boolean {
    if (this.#slow !== undefined && this.#slow === this.#reading) return true;
    return this.#clock.monotonic() - this.#failedAt < PATIENCE_MS;
  }

  #read(): Promise<void> {
    if (this.#reading === undefined) {
      const reading = this.#list().finally(() => {
        if (this.#reading === reading) this.#reading = undefined;
      });
      this.#reading = reading;
    }
    return this.#reading;
  }

  async #list(): Promise<void> {
    const askedAt = this.#clock.monotonic();
    const changes = this.#changes;
    try {
      const { asOfMs, keys } = await this.#store.listKeys();
      if (changes !== this.#changes) return this.#read();
      this.#ring = {
        keys: new Map(keys.map((it) => [it.id, known(it, asOfMs, askedAt)])),
        askedAt,
      };
    } catch (error) {
      this.#failedAt = this.#clock.monotonic();
      throw error;
    }
  }
}

/** Reads what came as `authorization`; says why it is no key. */
export function readCredential(credential: string | undefined): ShownKey | Stranger {
  if (credential === undefined || credential === "") return "missing";
  const text = parseApiKey(bearerToken(credential) ?? "");
  return text === undefined ? "malformed" : { id: text.id, secretHash: hashSecret(text.secret) };
}

export function isStranger<T>(found: T | Stranger): found is Stranger {
  return typeof found === "string";
}

/** Its life is counted from before the question, so that no agent's clock can make it longer. */
function known(stored: StoredApiKey, asOfMs: number, askedAt: number): KnownKey {
  const { id, name, rights, expiresAtMs } = stored;
  const expiresAt =
    expiresAtMs === undefined ? Number.POSITIVE_INFINITY : askedAt + (expiresAtMs - asOfMs);
  return { stored, principal: { keyId: id, name, rights }, expiresAt };
}

function tooManyStrangers(): StreamHouseError {
  return new StreamHouseError({
    code: "OVERLOADED",
    kind: "unavailable",
    message: `${WAITING_MAX} calls with API keys that this agent does not know wait for an answer already: try again`,
    retryAfterMs: 1_000,
  });
}
