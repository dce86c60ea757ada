/** The PostgreSQL metadata on the other runtimes: the contract, and what becomes of broken connections, each in their own test runner. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import { type RuntimeName, root, runtimePath } from "../../scripts/runtimes.ts";

const CONTRACT = "test/peers/programs/postgres-contract.ts";
const CONNECTIONS = "test/peers/postgres-connections.test.ts";

const commands: Readonly<Record<Exclude<RuntimeName, "node">, readonly string[]>> = {
  bun: ["test", "--timeout=300000"],
  deno: ["test", "-A", "--no-check"],
};

/** Long, because two runtimes may share two busy cores with everything else. */
const RUN_MS_MAX = 240_000;

describe("metadata in PostgreSQL", () => {
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server.remove());

  for (const runtime of ["bun", "deno"] as const) {
    it(`keeps its contract and survives broken connections on ${runtime}`, async () => {
      for (const file of [CONTRACT, CONNECTIONS]) {
        const child = spawn(runtimePath(runtime), [...commands[runtime], `./${file}`], {
          cwd: root,
          stdio: ["ignore", "pipe", "pipe"],
          env: { ...process.env, NO_COLOR: "1", POSTGRES_URL: server.url },
        });
        let output = "";
        const read = (bytes: Uint8Array) => {
          output = (output + new TextDecoder().decode(bytes)).slice(-100_000);
        };
        child.stdout.on("data", read);
        child.stderr.on("data", read);
        const timer = setTimeout(() => child.kill("SIGKILL"), RUN_MS_MAX);
        const [code] = await once(child, "close");
        clearTimeout(timer);
        assert.equal(code, 0, output);
        // Bun counts tests, Deno their steps: a run of nothing ends with 0, too.
        const ran = Number(/(\d+) (?:pass\b|passed \(\d+ steps)/.exec(output)?.[1] ?? 0);
        assert.ok(ran >= 1, output);
      }
    });
  }
});
