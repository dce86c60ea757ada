/**
 * `npm run check`: everything about the code that a program can check without running it, plus the house rules: format and
 * lint (Biome), types (tsc), proto (buf), generated files up to date, structure and documents.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root, runtimePath } from "./runtimes.ts";

const bin = (name: string): string => join(root, "node_modules/.bin", name);

const steps: readonly (readonly [what: string, program: string, ...args: string[]])[] = [
  ["format and lint", bin("biome"), "check", "."],
  ["types", bin("tsc"), "--noEmit", "-p", "."],
  ["programs of README.md", runtimePath("node"), "scripts/readme.ts"],
  ["proto", bin("buf"), "lint"],
  ["generated messages", runtimePath("node"), "scripts/generated.ts"],
  ["generated descriptors", runtimePath("node"), "scripts/descriptor-set.ts", "--check"],
  [
    "structure and documents",
    runtimePath("node"),
    "scripts/test.ts",
    "--on",
    "node",
    "test/structure",
  ],
];

let failed = 0;
for (const [what, program, ...args] of steps) {
  const ran = spawnSync(program, args, { cwd: root, stdio: "inherit" });
  if (ran.status !== 0) failed += 1;
  console.log(`${ran.status === 0 ? "ok    " : "FAILED"} ${what}`);
}
console.log(`${steps.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
