/** Runs test files on one runtime and counts what passed and failed, from the JUnit report that all three can write. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type RuntimeName, root, runtimePath } from "../runtimes.ts";

export interface LaneResult {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** What failed: its name and the first lines of why, to be repeated at the end of a long output. */
  readonly failures: readonly string[];
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
  // A name of its own: two runs in one checkout must not read each other's results.
  const report = join(folder, `${label}-${process.pid}.xml`);
  rmSync(report, { force: true });
  const program = runtimePath(runtime);
  const code = await run(program, argumentsFor(runtime, files, report));
  const result = count(report, code);
  rmSync(report, { force: true });
  return result;
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
  const failures = cases.filter((_, i) => failing[i]).map(describeFailure);
  if (failed === 0 && (code !== 0 || passed === 0)) {
    failed = 1;
    failures.push(`the run itself: exit code ${code}, ${passed} tests passed`);
  }
  return { passed, failed, skipped, failures };
}

const FAILURE_LINES_MAX = 12;

/** Name, file and the beginning of the report of one failed case. */
function describeFailure(xml: string): string {
  const attribute = (name: string) =>
    unescapeXml(new RegExp(`\\b${name}="([^"]*)"`).exec(xml)?.[1] ?? "");
  const where = [attribute("classname"), attribute("file")].filter((it) => it !== "");
  const report = /<(?:failure|error)\b([^>]*)>([\s\S]*?)<\/(?:failure|error)>/.exec(xml);
  const told = /\bmessage="([^"]*)"/.exec(report?.[1] ?? "")?.[1] ?? "";
  const text = unescapeXml([told, report?.[2] ?? ""].join("\n"));
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const shown = lines.slice(0, FAILURE_LINES_MAX).map((line) => `    ${line}`);
  return [`${attribute("name")} (${where.join(", ")})`, ...shown].join("\n");
}

function unescapeXml(text: string): string {
  return text
    .replace(/&#(x?)([\da-f]+);/gi, (_, hex, digits) =>
      String.fromCodePoint(Number.parseInt(digits, hex ? 16 : 10)),
    )
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'")
    .replaceAll("&amp;", "&");
}

/** What failed, once more and together: a long run's output is often read from its end. */
export function printFailures(lanes: readonly (readonly [label: string, LaneResult])[]): void {
  for (const [label, { failures }] of lanes) {
    for (const failure of failures) console.log(`\nFAILED on ${label}: ${failure}`);
  }
}
