/** API keys: part of the metadata store's contract. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AccessAction } from "../../core/access.ts";
import { createApiKey } from "../../core/api-key.ts";
import { systemRandom } from "../../core/ids.ts";
import { limits } from "../../core/limits.ts";
import { hashSecret } from "../../core/secret-hash.ts";
import type { NewApiKey } from "../../metadata/key-store.ts";
import { code, type MetadataSubject } from "./metadata-subject.ts";

export function keyContract(subject: () => MetadataSubject): void {
  describe("API keys", () => {
    it("are kept as the hash of their secret, with name, rights and life", async () => {
      const { metadata } = subject();
      const key = newKey({
        rights: [
          { action: "produce", topicPrefix: "orders." },
          { action: "consume", topicPrefix: "" },
        ],
        lifeMs: 90_000,
      });
      const made = await metadata.createKey(key);
      assert.equal(made.expiresAtMs, made.createdAtMs + 90_000);
      assert.equal("secretHash" in made, false);
      const { keys, asOfMs } = await metadata.listKeys();
      assert.ok(asOfMs >= made.createdAtMs);
      const { id, name, rights, secretHash } = key;
      const { createdAtMs, expiresAtMs } = made;
      assert.deepEqual(
        keys.find((it) => it.id === id),
        { id, name, rights, secretHash, createdAtMs, expiresAtMs },
      );
    });

    it("do not expire unless they are told to", async () => {
      const { metadata } = subject();
      const made = await metadata.createKey(newKey({}));
      assert.equal(made.expiresAtMs, undefined);
    });

    it("that have expired are listed, beside the time by which they have", async () => {
      const { metadata, advance } = subject();
      const made = await metadata.createKey(newKey({ lifeMs: 5 }));
      await advance(50);
      const { keys, asOfMs } = await metadata.listKeys();
      const found = keys.find((it) => it.id === made.id);
      assert.ok(found?.expiresAtMs !== undefined && found.expiresAtMs <= asOfMs);
    });

    it("may share a name: one follows another", async () => {
      const { metadata } = subject();
      const first = newKey({ name: "the same" });
      const second = newKey({ name: "the same" });
      await metadata.createKey(first);
      await metadata.createKey(second);
      const { keys } = await metadata.listKeys();
      const ids = keys.filter((it) => it.name === "the same").map((it) => it.id);
      assert.deepEqual(new Set(ids), new Set([first.id, second.id]));
    });

    it("are gone when they are revoked, once", async () => {
      const { metadata } = subject();
      const { id } = await metadata.createKey(newKey({}));
      assert.equal(await metadata.revokeKey(id), true);
      assert.equal(await metadata.revokeKey(id), false);
      assert.equal(
        (await metadata.listKeys()).keys.some((it) => it.id === id),
        false,
      );
    });

    it("are refused with an id in use, bad names, rights, lives and hashes", async () => {
      const { metadata } = subject();
      const good = newKey({});
      await metadata.createKey(good);
      const rights = good.rights;
      const tooMany = Array.from({ length: limits.rightsPerKeyMax + 1 }, () => rights).flat();
      const bad: readonly NewApiKey[] = [
        good,
        newKey({ name: "" }),
        newKey({ name: "a\nb" }),
        newKey({ name: "a".repeat(limits.keyNameCharactersMax + 1) }),
        newKey({ rights: [] }),
        newKey({ rights: tooMany }),
        newKey({ rights: [{ action: "rule" as AccessAction, topicPrefix: "" }] }),
        newKey({ rights: [{ action: "consume", topicPrefix: "a b" }] }),
        newKey({ lifeMs: 0 }),
        newKey({ lifeMs: 1.5 }),
        newKey({ lifeMs: limits.keyLifeMsMax + 1 }),
        newKey({ id: "short" }),
        newKey({ secretHash: new Uint8Array(31) }),
      ];
      for (const key of bad)
        await assert.rejects(metadata.createKey(key), code("INVALID_ARGUMENT"));
    });
  });
}

function newKey(some: Partial<NewApiKey>): NewApiKey {
  const { id, secret } = createApiKey(systemRandom);
  const rights = [{ action: "admin", topicPrefix: "" }] as const;
  const secretHash = hashSecret(secret);
  return { id, name: "contract", rights, secretHash, lifeMs: undefined, ...some };
}
