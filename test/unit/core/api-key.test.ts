/** The text of API keys, and rights. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  type AccessRight,
  accessActions,
  allows,
  allowsEverywhere,
  allowsSomewhere,
  allowsToSee,
  checkKeySpec,
  rightText,
} from "../../../src/core/access.ts";
import {
  bearerCredential,
  bearerToken,
  createApiKey,
  formatApiKey,
  parseApiKey,
} from "../../../src/core/api-key.ts";
import { systemRandom } from "../../../src/core/ids.ts";
import { hashSecret, sameHash } from "../../../src/core/secret-hash.ts";

describe("an API key's text", () => {
  it("is sh_<id>_<secret>, and is read back", () => {
    for (let i = 0; i < 200; i++) {
      const key = createApiKey(systemRandom);
      const text = formatApiKey(key);
      assert.match(text, /^sh_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}$/);
      assert.deepEqual(parseApiKey(text), key);
    }
  });

  it("holds all 256 bits that were drawn", () => {
    const all = new Set<string>();
    for (let bit = 0; bit < 256; bit++) {
      const { secret } = createApiKey((into) => {
        into.fill(0);
        if (into.length === 32) into[bit >> 3] = 1 << (bit & 7);
        return into;
      });
      all.add(secret);
    }
    assert.equal(all.size, 256);
    const ones = createApiKey((into) => into.fill(0xff));
    assert.equal(ones.secret.length, 43);
  });

  it("is nothing else", () => {
    const text = formatApiKey(createApiKey(systemRandom));
    const wrong = [
      "",
      "sh_",
      text.slice(1),
      text.slice(0, -1),
      `${text}x`,
      ` ${text}`,
      `${text}\n`,
    ];
    wrong.push(text.toUpperCase(), text.replace("_", "-"), text.replace(/.$/, "é"));
    for (const it of wrong) assert.equal(parseApiKey(it), undefined, it);
  });

  it("travels as a bearer token, whatever the case of that word", () => {
    assert.equal(bearerToken(bearerCredential("abc")), "abc");
    assert.equal(bearerToken("bEARER  abc"), "abc");
    for (const it of ["", "abc", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "xBearer a"]) {
      assert.equal(bearerToken(it), undefined, it);
    }
  });
});

describe("hashes of secrets", () => {
  it("are SHA-256, and the same for the same secret only", () => {
    const hex = Array.from(hashSecret("abc"), (it) => it.toString(16).padStart(2, "0")).join("");
    // FIPS 180-2, appendix B.1.
    assert.equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert.equal(sameHash(hashSecret("abc"), hashSecret("abc")), true);
    assert.equal(sameHash(hashSecret("abc"), hashSecret("abd")), false);
    assert.equal(sameHash(hashSecret("abc"), new Uint8Array(0)), false);
  });
});

describe("rights", () => {
  const prefix = fc.stringMatching(/^[ab.]{0,3}$/);
  const right = fc.record({ action: fc.constantFrom(...accessActions), topicPrefix: prefix });
  const topic = fc.stringMatching(/^[ab.]{1,4}$/);

  it("allow an action with topics whose names begin with their prefix, and nothing else", () => {
    fc.assert(
      fc.property(fc.array(right, { maxLength: 3 }), topic, (rights, name) => {
        for (const action of accessActions) {
          const expected = rights.some(
            (it) => it.action === action && it.topicPrefix === name.slice(0, it.topicPrefix.length),
          );
          assert.equal(allows(rights, action, name), expected);
          if (allowsEverywhere(rights, action)) assert.equal(allows(rights, action, name), true);
          if (expected) assert.ok(allowsSomewhere(rights, action) && allowsToSee(rights, name));
        }
        const seen = accessActions.some((action) => allows(rights, action, name));
        assert.equal(allowsToSee(rights, name), seen);
      }),
    );
  });

  it("are shown as words", () => {
    assert.equal(rightText({ action: "produce", topicPrefix: "orders." }), "produce orders.*");
    assert.equal(rightText({ action: "admin", topicPrefix: "" }), "admin *");
  });

  it("are refused without saying more than their place", () => {
    const bad = [{ action: "consume", topicPrefix: "a b" }] as readonly AccessRight[];
    assert.throws(() => checkKeySpec("name", bad), {
      code: "INVALID_ARGUMENT",
      field: "rights[0].topicPrefix",
    });
    const good = [{ action: "consume", topicPrefix: "" }] as readonly AccessRight[];
    checkKeySpec("Abrechnung (neu)".replace(/[()]/g, ""), good);
    for (const name of ["", "a\tb", "a,b", "x".repeat(101)]) {
      assert.throws(() => checkKeySpec(name, good), { code: "INVALID_ARGUMENT", field: "name" });
    }
  });
});
