/**
 * `npm run test:package` and `npm run test:peers`: suites that need the registry or real third-party servers. They run on
 * Node and start other runtimes themselves. `.ci/run` runs both; a peer that is missing fails its tests.
 */
import { globSync } from "node:fs";
import { root } from "./runtimes.ts";
import { type LaneResult, printFailures, runLane } from "./testing/lane.ts";

const names = process.argv.slice(2);
let passed = 0;
let failed = 0;
const results: (readonly [string, LaneResult])[] = [];
for (const name of names) {
  const files = globSync(`test/${name}/**/*.test.ts`, { cwd: root }).sort();
  console.log(`\n== ${name}: ${files.length} test files`);
  const result = await runLane("node", files, name);
  results.push([name, result]);
  passed += result.passed;
  failed += result.failed;
}
printFailures(results);
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
