/** What an agent remembers of the cluster's keys, for how long, and what that costs metadata. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KeyRing, readCredential, type ShownKey } from "../../../src/agent/key-ring.ts";
import { bearerCredential, createApiKey, formatApiKey } from "../../../src/core/api-key.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { systemRandom } from "../../../src/core/ids.ts";
import { hashSecret } from "../../../src/core/secret-hash.ts";
import type { ApiKeyList, StoredApiKey } from "../../../src/metadata/key-store.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

interface Rig {
  readonly clock: ManualClock;
  readonly ring: KeyRing;
  readonly keys: StoredApiKey[];
  reads(): number;
  /** What the next readings do. */
  answer(how: "at once" | "not" | "never"): void;
  /** Ends those that are under way. */
  release(): void;
}

function rig(): Rig {
  const clock = new ManualClock();
  const keys: StoredApiKey[] = [];
  let reads = 0;
  let how: "at once" | "not" | "never" = "at once";
  const held: (() => void)[] = [];
  const listKeys = async (): Promise<ApiKeyList> => {
    reads++;
    const list = { asOfMs: clock.now(), keys: [...keys] };
    if (how === "not") throw unavailable();
    if (how === "never") await new Promise<void>((resolve) => held.push(resolve));
    return list;
  };
  const ring = new KeyRing({ store: { listKeys }, clock });
  const answer = (next: typeof how) => {
    how = next;
  };
  const release = () => {
    for (const resolve of held.splice(0)) resolve();
  };
  return { clock, ring, keys, reads: () => reads, answer, release };
}

function unavailable(): StreamHouseError {
  const message = "the database is gone";
  return new StreamHouseError({ code: "METADATA_UNAVAILABLE", kind: "unavailable", message });
}

function made(
  keys: StoredApiKey[],
  expiresAtMs?: number,
): { stored: StoredApiKey; shown: ShownKey } {
  const text = createApiKey(systemRandom);
  const rights = [{ action: "consume", topicPrefix: "" }] as const;
  const secretHash = hashSecret(text.secret);
  const stored = { id: text.id, name: "k", rights, secretHash, createdAtMs: 0, expiresAtMs };
  keys.push(stored);
  const shown = readCredential(bearerCredential(formatApiKey(text)));
  assert.ok(typeof shown === "object");
  return { stored, shown };
}

function stranger(): ShownKey {
  return made([]).shown;
}

describe("the ring of keys", () => {
  it("finds a key, and asks nobody the next time", async () => {
    const { ring, keys, reads } = rig();
    const { stored, shown } = made(keys);
    const found = await ring.find(shown);
    assert.deepEqual(found, { keyId: stored.id, name: "k", rights: stored.rights });
    for (let i = 0; i < 100; i++) assert.ok(!(ring.find(shown) instanceof Promise));
    assert.equal(reads(), 1);
  });

  it("asks once for all that come together", async () => {
    const { ring, keys, reads } = rig();
    const { shown } = made(keys);
    const found = await Promise.all(Array.from({ length: 50 }, () => ring.find(shown)));
    assert.ok(found.every((it) => typeof it === "object"));
    assert.equal(reads(), 1);
  });

  it("refuses a known id with another secret, and asks nobody for that", async () => {
    const { ring, keys, reads } = rig();
    const { stored, shown } = made(keys);
    await ring.find(shown);
    const wrong = { id: stored.id, secretHash: hashSecret("another") };
    assert.equal(ring.find(wrong), "unknown");
    assert.equal(reads(), 1);
  });

  it("finds a key that was made a moment ago", async () => {
    const { ring, keys, clock } = rig();
    await ring.find(made(keys).shown);
    const { shown } = made(keys);
    const found = ring.find(shown);
    assert.ok(found instanceof Promise);
    await clock.until(found);
    assert.equal(typeof (await found), "object");
  });

  it("gives a newcomer a reading that began after it came", async () => {
    const { ring, keys, clock, answer, release } = rig();
    await ring.find(made(keys).shown);
    answer("never");
    const first = ring.find(stranger());
    await Promise.resolve();
    await Promise.resolve();
    // Made while the reading for the first one is under way, which does not see it.
    const { shown } = made(keys);
    const second = ring.find(shown);
    answer("at once");
    release();
    await clock.until(Promise.all([first, second]));
    assert.equal(await first, "unknown");
    assert.equal(typeof (await second), "object");
  });

  it("forgets a revoked key within five seconds", async () => {
    const { ring, keys, clock } = rig();
    const { shown } = made(keys);
    await ring.find(shown);
    keys.length = 0;
    clock.advance(5_000);
    const found = ring.find(shown);
    await clock.until(Promise.resolve(found));
    assert.equal(await found, "unknown");
  });

  it("forgets a key at once that was revoked here, also under a reading that began before", async () => {
    const { ring, keys, clock, answer, release } = rig();
    const { shown } = made(keys);
    await ring.find(shown);
    clock.advance(3_000);
    answer("never");
    // Reads behind the caller's back.
    assert.equal(typeof ring.find(shown), "object");
    keys.length = 0;
    ring.forget();
    answer("at once");
    const found = ring.find(shown);
    release();
    await clock.until(Promise.resolve(found));
    assert.equal(await found, "unknown");
    const again = Promise.resolve(ring.find(shown));
    await clock.until(again);
    assert.equal(await again, "unknown");
  });

  it("ends a key at its time, however the agent's wall clock stands", async () => {
    const { ring, keys, clock } = rig();
    const { shown } = made(keys, clock.now() + 2_000);
    assert.equal(typeof (await ring.find(shown)), "object");
    clock.jump(-1_000_000);
    clock.advance(1_999);
    assert.equal(typeof (await ring.find(shown)), "object");
    clock.advance(1);
    assert.equal(await ring.find(shown), "expired");
  });

  it("does not let a flood of unknown keys ask more than twice a second", async () => {
    const { ring, keys, clock, reads } = rig();
    const { shown } = made(keys);
    await ring.find(shown);
    const before = reads();
    for (let second = 0; second < 4; second++) {
      const flood = Array.from({ length: 200 }, () => Promise.resolve(ring.find(stranger())));
      clock.advance(500);
      const answers = Promise.all(flood);
      await clock.until(answers);
      assert.ok((await answers).every((it) => it === "unknown"));
      // Who has a good key notices nothing.
      assert.ok(!(ring.find(shown) instanceof Promise));
    }
    assert.ok(reads() - before <= 6, `${reads() - before} readings`);
  });

  it("keeps no more than a thousand strangers waiting", async () => {
    const { ring, keys, answer } = rig();
    await ring.find(made(keys).shown);
    answer("never");
    const waiting = Array.from({ length: 1_000 }, () => ring.find(stranger()));
    await assert.rejects(async () => ring.find(stranger()), {
      code: "OVERLOADED",
      retriable: true,
    });
    assert.equal(waiting.length, 1_000);
  });

  it("believes known keys for half a minute while metadata is away, and no longer", async () => {
    const { ring, keys, clock, answer } = rig();
    const { shown } = made(keys);
    await ring.find(shown);
    answer("not");
    clock.advance(6_000);
    assert.equal(typeof (await ring.find(shown)), "object");
    clock.advance(23_000);
    assert.equal(typeof (await ring.find(shown)), "object");
    clock.advance(2_000);
    await assert.rejects(async () => ring.find(shown), { code: "METADATA_UNAVAILABLE" });
    answer("at once");
    assert.equal(typeof (await ring.find(shown)), "object");
  });

  it("waits a second for metadata that says nothing, once, and then takes what it has", async () => {
    const { ring, keys, clock, answer, reads } = rig();
    const { shown } = made(keys);
    await ring.find(shown);
    clock.advance(6_000);
    answer("never");
    const slow = ring.find(shown);
    await clock.until(Promise.resolve(slow));
    assert.equal(typeof (await slow), "object");
    const before = clock.monotonic();
    for (let i = 0; i < 20; i++) assert.equal(typeof (await ring.find(shown)), "object");
    assert.equal(clock.monotonic(), before);
    assert.equal(reads(), 2);
  });

  it("reads behind those who call all the time, so that they never wait", async () => {
    const { ring, keys, clock, reads } = rig();
    const { shown } = made(keys);
    await ring.find(shown);
    for (let i = 0; i < 40; i++) {
      clock.advance(500);
      assert.ok(!(ring.find(shown) instanceof Promise), `call ${i}`);
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    }
    assert.ok(reads() >= 6 && reads() <= 10, `${reads()} readings`);
  });

  it("tells missing from malformed credentials", () => {
    assert.equal(readCredential(undefined), "missing");
    assert.equal(readCredential(""), "missing");
    for (const it of [
      "Bearer",
      "Bearer x",
      "Basic abc",
      formatApiKey(createApiKey(systemRandom)),
    ]) {
      assert.equal(readCredential(it), "malformed");
    }
  });
});
