/** Writes an object to the S3 store of a URL and reads it back, on whichever runtime runs this. Prints what came of it as a line of JSON. */
import { createS3Store, parseS3Url } from "../../../src/s3.ts";

const [url = "", key = ""] = process.argv.slice(2);
const bytes = Uint8Array.from({ length: 4_194_304 }, (_, i) => (i >> 8) % 251);
const store = createS3Store({}, parseS3Url(url));
let seen: string;
try {
  await store.put(key, [bytes]);
  const back = await store.get(key);
  const same = back.length === bytes.length && back.every((byte, i) => byte === bytes[i]);
  seen = same ? "4 MiB as they were" : "other bytes";
} catch (error) {
  const { code, message } = error as { readonly code?: string; readonly message?: string };
  seen = `${code} ${message}`;
}
console.log(JSON.stringify({ seen }));
await store.close();
