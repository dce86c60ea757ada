/**
 * `npm test`: the whole suite on Node, Bun and Deno. Ends with a line for each runtime and one for all.
 *
 *   npm test                          everything, on all three
 *   npm test -- --on node             one runtime (may be repeated)
 *   npm test -- test/unit/format      the files below a path, or one file
 */
import { globSync } from "node:fs";
import { parseArgs } from "node:util";
import { type RuntimeName, root } from "./runtimes.ts";
import { type LaneResult, printFailures, runLane } from "./testing/lane.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { on: { type: "string", multiple: true } },
});
const all: readonly RuntimeName[] = ["node", "bun", "deno"];
const wanted = values.on ?? all;
const unknown = wanted.find((name) => !all.includes(name as RuntimeName));
if (unknown !== undefined) {
  console.error(`--on ${unknown}: there are node, bun and deno`);
  process.exit(2);
}

// Suites that need other servers or the registry have commands of their own: scripts/lanes.ts.
const suites = ["unit", "contract", "structure", "fault", "regression", "runtime", "integration"];
const patterns =
  positionals.length > 0
    ? positionals.flatMap((path) => (path.endsWith(".ts") ? [path] : [`${path}/**/*.test.ts`]))
    : suites.map((suite) => `test/${suite}/**/*.test.ts`);
const files = patterns.flatMap((pattern) => globSync(pattern, { cwd: root })).sort();
if (files.length === 0) {
  console.error(`no test files match ${patterns.join(" ")}`);
  process.exit(2);
}

const results: (readonly [RuntimeName, LaneResult, number])[] = [];
for (const runtime of all.filter((name) => wanted.includes(name))) {
  console.log(`\n== ${runtime}: ${files.length} test files`);
  const started = performance.now();
  const result = await runLane(runtime, files, runtime);
  results.push([runtime, result, performance.now() - started]);
}

printFailures(results.map(([runtime, result]) => [runtime, result]));
let passed = 0;
let failed = 0;
console.log("");
for (const [runtime, result, ms] of results) {
  passed += result.passed;
  failed += result.failed;
  const skipped = result.skipped > 0 ? `, ${result.skipped} skipped` : "";
  const seconds = (ms / 1000).toFixed(0);
  console.log(
    `${runtime}: ${result.passed} passed, ${result.failed} failed${skipped} in ${seconds} s`,
  );
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
