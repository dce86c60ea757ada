/** Type-checks the TypeScript programs of README.md and docs/consumer-run.md as users would write them, against the doors. Part of `npm run check`. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./runtimes.ts";

const folder = join(root, ".tools", "readme");
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
/** Documents whose every TypeScript program is a whole one. */
const documents = ["README.md", "docs/consumer-run.md"];
const programs = documents.flatMap((document) => {
  const text = readFileSync(join(root, document), "utf8");
  const found = Array.from(text.matchAll(/```ts\n([\s\S]*?)```/g), (match) => match[1] ?? "");
  if (found.length === 0) throw new Error(`${document} has no TypeScript programs`);
  return found;
});
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
console.log(`${programs.length} programs of ${documents.join(" and ")}`);
process.exit(ran.status ?? 1);
