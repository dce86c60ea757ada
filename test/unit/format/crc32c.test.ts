import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { crc32c, crc32cImplementation, createTableCrc32c } from "../../../src/format/crc32c.ts";
import { fromHex } from "./samples.ts";

/** RFC 3720 appendix B.4, and the catalogue's check value. */
const KNOWN: readonly (readonly [name: string, bytes: Uint8Array, crc: number])[] = [
  ["nothing", new Uint8Array(0), 0],
  ["123456789", new TextEncoder().encode("123456789"), 0xe3069283],
  ["32 zero bytes", new Uint8Array(32), 0x8a9136aa],
  ["32 bytes of 0xff", new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ["0 to 31", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
  ["31 to 0", Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
  [
    "an iSCSI SCSI read command",
    fromHex(
      "01c00000000000000000000000000000140000000000040000000014000000182800000000000000" +
        "0200000000000000",
    ),
    0xd9963a56,
  ],
];

describe("crc32c", () => {
  const table = createTableCrc32c();

  it("computes the known answers of RFC 3720, by the chosen code and by the table code", () => {
    for (const [name, bytes, crc] of KNOWN) {
      assert.equal(crc32c(bytes), crc, name);
      assert.equal(table(bytes), crc, `${name} (table)`);
    }
  });

  it("runs the native code here, where its binary is installed", () => {
    assert.equal(crc32cImplementation, "native");
  });

  it("gives the same from any cut into pieces, and the table code the same as the native one", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), (bytes, cut) => {
        const whole = crc32c(bytes);
        assert.equal(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut))), whole);
        assert.equal(table(bytes.subarray(cut), table(bytes.subarray(0, cut))), whole);
      }),
    );
  });
});
