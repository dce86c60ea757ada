/**
 * The S3 store through its door, on whichever runtime runs this: `s3-store.ts URL`. Credentials come from the environment, as the AWS
 * SDK's chain finds them. Prints what it saw as a line of JSON.
 */
import { createS3Store, parseS3Url } from "../../../src/s3.ts";

const [url = ""] = process.argv.slice(2);
const MIB = 1_048_576;
const large = Uint8Array.from({ length: 8 * MIB }, (_, i) => (i >> 8) % 251);
const parts = Array.from({ length: 64 }, (_, i) =>
  large.subarray(i * (MIB / 8), (i + 1) * (MIB / 8)),
);
const isSame = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);
const codeOf = (error: unknown): string => (error as { readonly code?: string }).code ?? "";

const store = createS3Store({}, parseS3Url(url));
await store.put("large", parts);
await store.put("small", [Uint8Array.of(1, 2, 3), Uint8Array.of(4)]);
await store.put("empty", []);
const raced = await Promise.allSettled(
  Array.from({ length: 8 }, (_, i) => store.put("raced", [new Uint8Array(100_000).fill(i)])),
);
const keys: string[] = [];
for await (const { key } of store.list("")) keys.push(key);
const caller = new AbortController();
const aborted = store.get("large", undefined, caller.signal).catch(codeOf);
caller.abort();

const inParts = createS3Store({}, { ...parseS3Url(url), multipartBytes: MIB, partBytes: 5 * MIB });
await inParts.put("in-parts", parts);
const unsigned = createS3Store({}, { ...parseS3Url(url), signBodies: false });
await unsigned.put("unsigned", parts);

const seen = {
  large: isSame(await store.get("large"), large),
  inParts: isSame(await store.get("in-parts"), large),
  unsigned: isSame(await store.get("unsigned"), large),
  range: isSame(
    await store.get("large", { start: 3 * MIB + 7, length: 100_000 }),
    large.subarray(3 * MIB + 7, 3 * MIB + 100_007),
  ),
  small: [...(await store.get("small"))],
  empty: (await store.get("empty")).length,
  crc32c: (await store.head("small"))?.crc32c ?? 0,
  winners: raced.filter((it) => it.status === "fulfilled").length,
  losers: raced.flatMap((it) => (it.status === "rejected" ? [codeOf(it.reason)] : [])),
  missing: await store.get("none").catch(codeOf),
  tooShort: await store.get("small", { start: 2, length: 9 }).catch(codeOf),
  aborted: typeof (await aborted) === "string" ? await aborted : "it was read",
  keys,
};
await store.delete(keys);
const left: string[] = [];
for await (const { key } of store.list("")) left.push(key);
console.log(JSON.stringify({ ...seen, left }));
for (const it of [store, inParts, unsigned]) await it.close();
