/** Identifiers: ULIDs for agent runs (sortable by start), UUIDs for topics and members. Randomness comes in as a port. */

/** Fills the array with random bytes and returns it. */
export type RandomBytes = (into: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>;

/** The platform's cryptographic generator (Web Crypto is in all three runtimes). */
export const systemRandom: RandomBytes = (into) => crypto.getRandomValues(into);

const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A ULID: 48 bits of milliseconds, 80 random bits, 26 characters (https://github.com/ulid/spec). */
export function createUlid(nowMs: number, random: RandomBytes = systemRandom): string {
  let time = nowMs;
  let head = "";
  for (let i = 0; i < 10; i++) {
    head = CROCKFORD[time % 32] + head;
    time = Math.floor(time / 32);
  }
  let tail = "";
  for (const byte of random(new Uint8Array(16))) tail += CROCKFORD[byte & 31];
  return head + tail;
}

/** A random (version 4) UUID, RFC 9562 section 5.4. */
export function createUuid(random: RandomBytes = systemRandom): string {
  const b = random(new Uint8Array(16));
  b[6] = ((b[6] ?? 0) & 0x0f) | 0x40;
  b[8] = ((b[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The 16 bytes of a UUID's text. @throws RangeError if the text is not a UUID */
export function uuidToBytes(uuid: string): Uint8Array {
  const hex = uuid.replaceAll("-", "");
  if (!/^[0-9a-f]{32}$/i.test(hex)) throw new RangeError(`not a UUID: ${uuid.slice(0, 40)}`);
  return Uint8Array.from({ length: 16 }, (_, i) =>
    Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
}

/** The text of a UUID's 16 bytes. */
export function uuidFromBytes(bytes: Uint8Array): string {
  const hex = Array.from(bytes.subarray(0, 16), (x) => x.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
