/**
 * Writes `src/rpc/descriptor-set.ts` from `proto/`: what server reflection answers with. A module and not a file to
 * read, so that bundles work. Part of `npm run gen`; with `--check` it only tells whether the committed one is up to date.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const file = join(root, "src/rpc/descriptor-set.ts");
const buf = join(root, "node_modules/.bin/buf");
const options = [
  "build",
  "-o",
  "-#format=binpb",
  "--as-file-descriptor-set",
  "--exclude-source-info",
];
const built = spawnSync(buf, options, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
if (built.status !== 0) process.exit(1);

const lines = built.stdout.toString("base64").match(/.{1,92}/g) ?? [];
const text = `/**
 * The protocol's \`google.protobuf.FileDescriptorSet\`, for server reflection. Generated from \`proto/\` by
 * scripts/descriptor-set.ts: do not edit.
 */
const base64: string = [
${lines.map((line) => `  "${line}",`).join("\n")}
].join("");

/** The encoded descriptor set. Made anew at each call: a server keeps it, others need not. */
export function descriptorSet(): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
`;

if (process.argv.includes("--check")) {
  if (readFileSync(file, "utf8") === text) process.exit(0);
  console.error("src/rpc/descriptor-set.ts is out of date: run npm run gen");
  process.exit(1);
}
writeFileSync(file, text);
