/** Type-checks the TypeScript programs of README.md as users would write them, against the doors. Part of `npm run check`. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./runtimes.ts";

const folder = join(root, ".tools", "readme");
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const readme = readFileSync(join(root, "README.md"), "utf8");
const programs = Array.from(readme.matchAll(/```ts\n([\s\S]*?)```/g), (match) => match[1] ?? "");
if (programs.length === 0) throw new Error("README.md has no TypeScript programs");
for (const [i, program] of programs.entries()) {
  writeFileSync(join(folder, `program-${i + 1}.ts`), program);
}
const paths = {
  "@streamhouse/streamhouse": ["../../src/index.ts"],
  "@streamhouse/streamhouse/*": ["../../src/*.ts"],
};
writeFileSync(
  join(folder, "tsconfig.json"),
  JSON.stringify({
    extends: "../../tsconfig.json",
    compilerOptions: { paths },
    include: ["*.ts"],
  }),
);
const tsc = join(root, "node_modules/.bin/tsc");
const ran = spawnSync(tsc, ["--noEmit", "-p", folder], { cwd: root, stdio: "inherit" });
console.log(`${programs.length} programs of README.md`);
process.exit(ran.status ?? 1);
