/**
 * `npm run chaos` in its short form: three agents on Node, Bun and Deno over a real S3 server and a real PostgreSQL, producers, consumers
 * and members of shared groups on the three, each fault once. What counts is the checker's verdict, never a time. And however a run
 * ends, nothing of it is left.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { BoundProcess } from "../../scripts/backends/bound-process.ts";
import { faultNames } from "../../scripts/chaos/fault-kinds.ts";
import type { ChaosResult } from "../../scripts/chaos/run.ts";
import { root, runtimePath } from "../../scripts/runtimes.ts";
import { eventually } from "../integration/child.ts";

const seed = "4";

/** In the environment of everything that a run starts. */
const MARK = "STREAMHOUSE_CHAOS_TEST";

/** What a killed run leaves in the system's temporary folder, it leaves here. */
let scratch = "";

function start(mark: string): BoundProcess {
  const command = [join(root, "scripts", "chaos.ts"), "--profile", "short", "--seed", seed];
  const env = { [MARK]: mark, TMPDIR: scratch };
  return new BoundProcess(runtimePath("node"), command, { cwd: root, env });
}

function lastLine(output: string): ChaosResult {
  const line =
    output
      .trimEnd()
      .split("\n")
      .findLast((it) => it.startsWith("{")) ?? "";
  return JSON.parse(line) as ChaosResult;
}

/** Processes that carry the mark; a process that ends while we look has none. */
function left(mark: string): readonly string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "utf8").includes(`${MARK}=${mark}`);
      } catch {
        return false;
      }
    });
}

describe("many agents under faults", () => {
  before(() => {
    scratch = mkdtempSync(join(tmpdir(), "chaos-"));
    // PostgreSQL runs as another user.
    chmodSync(scratch, 0o755);
  });

  after(() => rmSync(scratch, { recursive: true, force: true }));

  it("lose, duplicate and reorder nothing, nobody who was overtaken writes, and groups process everything, each partition by one member", async () => {
    const mark = randomUUID();
    await using run = start(mark);
    await run.end();
    const { faults, ...counts } = lastLine(run.output);
    const { acknowledged, consumed } = counts;
    assert.deepEqual(
      counts,
      {
        ok: true,
        seed: Number(seed),
        acknowledged,
        consumed,
        lost: 0,
        duplicated: 0,
        reordered: 0,
        fencedWritesAccepted: 0,
        doubleOwned: 0,
        unprocessed: 0,
      },
      run.output,
    );
    assert.equal(run.exitCode, 0);
    assert.ok(acknowledged > 500 && consumed >= acknowledged, run.output);
    assert.deepEqual(Object.keys(faults).toSorted(), faultNames.toSorted());
    assert.deepEqual(left(mark), []);
  });

  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    it(`leave nothing behind when the run is ended by ${signal}`, async () => {
      const mark = randomUUID();
      await using run = start(mark);
      await eventually(`agents; ${run.output}`, () => /starting 3 agents/.test(run.output));
      await eventually("their processes", () => left(mark).length > 10);
      run.signal(signal);
      await run.end();
      assert.notEqual(run.exitCode, 0);
      await eventually("every process to be gone", () => left(mark).length === 0);
      if (signal === "SIGKILL") return;
      assert.equal(lastLine(run.output).ok, false);
      assert.match(run.output, /the evidence is in \S+streamhouse-chaos-/);
    });
  }
});
