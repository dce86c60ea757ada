/** Runs test files on one runtime and counts what passed and failed, from the JUnit report that all three can write. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type RuntimeName, root, runtimePath } from "../runtimes.ts";

export interface LaneResult {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** A lane that takes longer than this is ended, and counts as failed. */
const LANE_MS_MAX = 12 * 60_000;

export async function runLane(
  runtime: RuntimeName,
  files: readonly string[],
  label: string,
): Promise<LaneResult> {
  const folder = join(root, ".tools", "reports");
  mkdirSync(folder, { recursive: true });
  const report = join(folder, `${label}.xml`);
  rmSync(report, { force: true });
  const program = runtimePath(runtime);
  const code = await run(program, argumentsFor(runtime, files, report));
  return count(report, code);
}

function argumentsFor(runtime: RuntimeName, files: readonly string[], report: string): string[] {
  switch (runtime) {
    case "node":
      return [
        "--test",
        "--test-concurrency=2",
        "--test-timeout=300000",
        "--test-reporter=dot",
        "--test-reporter-destination=stdout",
        "--test-reporter=junit",
        `--test-reporter-destination=${report}`,
        ...files,
      ];
    case "bun":
      return [
        "test",
        "--timeout=300000",
        "--only-failures",
        "--reporter=junit",
        `--reporter-outfile=${report}`,
        ...files.map((file) => `./${file}`),
      ];
    case "deno":
      return ["test", "-A", "--no-check", "--quiet", `--junit-path=${report}`, ...files];
  }
}

function run(program: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: root,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, NO_COLOR: "1" },
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), LANE_MS_MAX);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve(code ?? 1);
    });
  });
}

/**
 * Deno reports a suite as a case of its own, with its tests as `suite > test`: counted only if it failed and none of
 * its tests did (a hook). A run that crashed before its report was written, or that failed outside any test, is one failure.
 */
function count(report: string, code: number): LaneResult {
  const xml = existsSync(report) ? readFileSync(report, "utf8") : "";
  const cases = xml.split(/<testcase\b/).slice(1);
  const names = cases.map((text) => /\bname="([^"]*)"/.exec(text)?.[1] ?? "");
  const failing = cases.map((text) => /<(failure|error)\b/.test(text));
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  cases.forEach((text, i) => {
    const own = `${names[i]} &gt; `;
    if (names.some((name) => name.startsWith(own))) {
      const explained = names.some((name, at) => failing[at] && name.startsWith(own));
      if (failing[i] && !explained) failed += 1;
    } else if (failing[i]) failed += 1;
    else if (/<skipped\b/.test(text)) skipped += 1;
    else passed += 1;
  });
  if (failed === 0 && (code !== 0 || passed === 0)) failed = 1;
  return { passed, failed, skipped };
}
