import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { checksumOf, groupsOf, isJoined, lengthOf } from "../../../src/storage/parts.ts";
import { bodyOf, checksumHeader, readBody } from "../../../src/storage/s3-body.ts";
import { failure } from "./scratch.ts";

const parts = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 12 });
const joined = (all: readonly Uint8Array[]) => Uint8Array.from(all.flatMap((it) => [...it]));

async function* chunks(...all: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* all;
}

describe("bodies of S3 requests", () => {
  it("are sent as the parts joined, whatever their sizes", async () => {
    const sizes = [0, 1, 65_535, 65_536, 65_537, 10, 0, 200_000, 40_000, 40_000, 3];
    const all = sizes.map((size, i) => new Uint8Array(size).fill(i + 1));
    const body = bodyOf(all);
    assert.ok(!(body instanceof Uint8Array));
    assert.deepEqual(await readBody(body, lengthOf(all), "a"), joined(all));
    assert.deepEqual(bodyOf([new Uint8Array(0)]), new Uint8Array(0));
  });

  it("are not taken when they end early or do not end in time, also where the runtime says nothing", async () => {
    const [one, two] = [Uint8Array.of(1, 2), Uint8Array.of(3)];
    assert.deepEqual(await readBody(chunks(one, two), 3, "a"), Uint8Array.of(1, 2, 3));
    const broken = failure("STORE_UNAVAILABLE", "none", "the connection broke");
    await assert.rejects(readBody(chunks(one), 3, "a"), broken);
    await assert.rejects(readBody(undefined, 3, "a"), broken);
    await assert.rejects(readBody(chunks(one, two, two), 3, "a"), broken);
  });

  it("carry the checksum as the service reads it", () => {
    // CRC-32C of "123456789", https://reveng.sourceforge.io/crc-catalogue/17plus.htm#crc.cat.crc-32-iscsi
    const crc = checksumOf([new TextEncoder().encode("1234"), new TextEncoder().encode("56789")]);
    assert.equal(crc, 0xe3069283);
    assert.equal(checksumHeader(crc), "4waSgw==");
  });

  it("are cut into groups of one size without losing or copying a byte", () => {
    fc.assert(
      fc.property(parts, fc.integer({ min: 1, max: 400 }), (all, bytes) => {
        const groups = [...groupsOf(all, bytes)];
        assert.deepEqual(joined(groups.flat()), joined(all));
        for (const group of groups.slice(0, -1)) assert.equal(lengthOf(group), bytes);
        const memory = new Set<ArrayBufferLike>(all.map((it) => it.buffer));
        assert.ok(groups.flat().every((it) => memory.has(it.buffer)));
      }),
    );
  });

  it("are compared byte by byte", () => {
    fc.assert(
      fc.property(parts, fc.nat(), (all, at) => {
        const whole = joined(all);
        assert.ok(isJoined(all, whole));
        assert.ok(!isJoined(all, Uint8Array.of(...whole, 0)));
        if (whole.length === 0) return;
        whole[at % whole.length] = (whole[at % whole.length] ?? 0) ^ 1;
        assert.ok(!isJoined(all, whole));
      }),
    );
  });
});
