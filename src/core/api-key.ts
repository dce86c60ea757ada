/**
 * The text of an API key: `sh_<id>_<secret>`. The id is public: it stands in lists and logs. The secret is 32 random bytes, and is nowhere
 * but in the text. Pure; nothing here says a secret in an error. Called by whoever makes keys, and by agents that are shown one.
 */
import type { RandomBytes } from "./ids.ts";

/** A key's text in its parts. */
export interface ApiKeyText {
  readonly id: string;
  readonly secret: string;
}

/** One alphabet without signs: a double click takes the whole key, and no shell or URL minds it. */
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_CHARACTERS = 12;
/** 62^43 > 2^256. */
const SECRET_CHARACTERS = 43;
const SECRET_BYTES = 32;
const TEXT = /^sh_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})$/;
const ID = /^[0-9A-Za-z]{12}$/;

/** A new key: 256 random bits, under a random id. */
export function createApiKey(random: RandomBytes): ApiKeyText {
  // Nine bytes are more than 62^12 by so little that ids stay as good as evenly spread; nothing rests on them.
  const id = digits(random(new Uint8Array(9)), ID_CHARACTERS);
  return { id, secret: digits(random(new Uint8Array(SECRET_BYTES)), SECRET_CHARACTERS) };
}

export function formatApiKey({ id, secret }: ApiKeyText): string {
  return `sh_${id}_${secret}`;
}

/** Undefined if it is no key's text. */
export function parseApiKey(text: string): ApiKeyText | undefined {
  const [, id, secret] = TEXT.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

export function isApiKeyId(text: string): boolean {
  return ID.test(text);
}

/** The credential as it travels in a call's `authorization` (RFC 6750, section 2.1). */
export function bearerCredential(apiKey: string): string {
  return `Bearer ${apiKey}`;
}

/** What stands behind `Bearer `; undefined if that is not what the value is. */
export function bearerToken(credential: string): string | undefined {
  return /^bearer +(\S+)$/i.exec(credential)?.[1];
}

/** The bytes as a number, in base 62, its last `count` digits. */
function digits(bytes: Uint8Array, count: number): string {
  let number = 0n;
  for (const byte of bytes) number = number * 256n + BigInt(byte);
  let text = "";
  for (let i = 0; i < count; i++) {
    text = (DIGITS[Number(number % 62n)] ?? "") + text;
    number /= 62n;
  }
  return text;
}
