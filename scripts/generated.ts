/** Checks that the committed generated code is what `npm run gen` makes of `proto/` now. Needs no network. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root } from "./runtimes.ts";

const output = join(root, ".tools", "gen");
rmSync(output, { recursive: true, force: true });
const buf = join(root, "node_modules/.bin/buf");
const ran = spawnSync(buf, ["generate", "-o", output], { cwd: root, stdio: "inherit" });
if (ran.status !== 0) process.exit(1);

const committed = read(join(root, "src/rpc/gen"));
const fresh = read(join(output, "src/rpc/gen"));
const names = new Set([...committed.keys(), ...fresh.keys()]);
const stale = [...names].filter((name) => committed.get(name) !== fresh.get(name));
for (const name of stale) console.error(`src/rpc/gen/${name} is out of date: run npm run gen`);
process.exit(stale.length === 0 ? 0 : 1);

function read(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return new Map(
    files.filter((f) => f.endsWith(".ts")).map((f) => [f, readFileSync(join(folder, f), "utf8")]),
  );
}
