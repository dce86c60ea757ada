/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78; RFC 3720 appendix B.4). `@node-rs/crc32`
 * does 5 GB/s where it can be loaded, the table code below 0.9 everywhere else. This is the one
 * gate for that native module: it is loaded by `createRequire`, synchronously, and any failure (no
 * binary for the platform, no permission, a module that came over https and so has no folder to
 * look in) means the table code. Never asynchronous.
 */
import { createRequire } from "node:module";

type Crc32c = (bytes: Uint8Array, previous?: number) => number;

const POLYNOMIAL = 0x82f63b78;

/** Eight tables of 256 entries: entry [k][b] is byte b followed by k zero bytes. */
function createTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    tables[byte] = crc;
  }
  for (let i = 256; i < tables.length; i++) {
    const before = tables[i - 256] as number;
    tables[i] = (before >>> 8) ^ (tables[before & 0xff] as number);
  }
  return tables;
}

/** Makes the table code ("slicing by 8", Kounavis and Berry 2005). The tables take 8 KiB. */
export function createTableCrc32c(): Crc32c {
  const t = createTables();
  return (bytes, previous = 0) => {
    const end = bytes.length;
    const endOfEights = end - (end % 8);
    let crc = ~previous;
    let i = 0;
    while (i < endOfEights) {
      const low =
        crc ^
        ((bytes[i] as number) |
          ((bytes[i + 1] as number) << 8) |
          ((bytes[i + 2] as number) << 16) |
          ((bytes[i + 3] as number) << 24));
      crc =
        (t[1792 + (low & 0xff)] as number) ^
        (t[1536 + ((low >>> 8) & 0xff)] as number) ^
        (t[1280 + ((low >>> 16) & 0xff)] as number) ^
        (t[1024 + (low >>> 24)] as number) ^
        (t[768 + (bytes[i + 4] as number)] as number) ^
        (t[512 + (bytes[i + 5] as number)] as number) ^
        (t[256 + (bytes[i + 6] as number)] as number) ^
        (t[bytes[i + 7] as number] as number);
      i += 8;
    }
    for (; i < end; i++) crc = (crc >>> 8) ^ (t[(crc ^ (bytes[i] as number)) & 0xff] as number);
    return ~crc >>> 0;
  };
}

function loadNative(): Crc32c | undefined {
  try {
    const native = createRequire(import.meta.url)("@node-rs/crc32") as { crc32c: Crc32c };
    // The standard's check value: a binding that loads but computes something else is not used.
    return native.crc32c(new TextEncoder().encode("123456789")) === 0xe3069283
      ? native.crc32c
      : undefined;
  } catch {
    return undefined;
  }
}

const native = loadNative();

/** Which code `crc32c` runs: for benchmarks and start-up logs. */
export const crc32cImplementation: "native" | "table" = native === undefined ? "table" : "native";

/**
 * The checksum of `bytes`, or with `previous` of what `previous` was made of followed by `bytes`.
 */
export const crc32c: (bytes: Uint8Array, previous?: number) => number =
  native ?? createTableCrc32c();
