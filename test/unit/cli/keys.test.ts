/** `streamhouse keys` on a data folder: what is printed, what is refused, and that no key is repeated. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { CliIo } from "../../../src/cli/cli-io.ts";
import { runCli } from "../../../src/cli/streamhouse.ts";

let data: string;

async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  let stdout = "";
  let stderr = "";
  const io: CliIo = {
    async *stdin() {},
    stdout: {
      ...{ closed: false, failure: undefined },
      async write(lines) {
        for (const line of lines) stdout += `${line}\n`;
        return lines.length;
      },
    },
    stderr: (line) => {
      stderr += `${line}\n`;
    },
    ...{ env, stop: new AbortController().signal },
  };
  const code = await runCli(["keys", ...args], io);
  return { code, stdout, stderr };
}

describe("streamhouse keys", () => {
  before(async () => {
    data = await mkdtemp(join(tmpdir(), "streamhouse-keys-"));
  });
  after(() => rm(data, { recursive: true, force: true }));
  const here = () => ["--data", join(data, "new")];

  it("prints a new key alone on standard output, and tells of it on standard error", async () => {
    const rights = ["--produce", "a.,b.*", "--consume=*"];
    const made = await run(["create", "app", ...rights, "--expires-in", "90d", ...here()]);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /^sh_\w{12}_\w{43}\n$/);
    assert.match(
      made.stderr,
      /^made key \w{12} \(app\): produce a\.\*, produce b\.\*, consume \*, until /,
    );
    const secret = made.stdout.trim().slice(16);
    const listed = await run(["list", ...here()]);
    assert.match(listed.stdout, /app +produce a\.\*, produce b\.\*, consume \*/);
    const json = await run(["list", "--json", ...here()]);
    const [key] = JSON.parse(json.stdout) as readonly Record<string, unknown>[];
    const names = ["id", "name", "rights", "createdAtMs", "expiresAtMs", "isExpired"];
    assert.deepEqual(Object.keys(key ?? {}), names);
    assert.equal([made.stderr, listed.stdout, json.stdout].join("").includes(secret), false);
  });

  it("revokes a key by its id, once", async () => {
    const made = await run(["create", "app", "--admin", "*", "--json", ...here()]);
    const { id, key } = JSON.parse(made.stdout) as { id: string; key: string };
    assert.equal(key.slice(3, 15), id);
    const revoked = await run(["revoke", id, ...here()]);
    assert.deepEqual(revoked, { code: 0, stdout: `revoked key ${id}\n`, stderr: "" });
    const again = await run(["revoke", id, ...here()]);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /there is no key/);
    const whole = await run(["revoke", key, ...here()]);
    assert.equal(whole.code, 2);
    assert.equal(whole.stderr.includes(key.slice(16)), false);
  });

  it("refuses keys without rights, empty prefixes, odd lives and names, and two places", async () => {
    const good = ["create", "app", "--produce", "a."];
    const bad: readonly (readonly string[])[] = [
      ["create", "app", ...here()],
      ["create", "app", "--produce", "", ...here()],
      ["create", "app", "--produce", "a.,", ...here()],
      ["create", "app", "--produce", "a b", ...here()],
      [...good, "--expires-in", "0d", ...here()],
      [...good, "--expires-in", "5", ...here()],
      [...good, "--expires-in", "99999d", ...here()],
      [...good, "--metadata", "postgres://h/d", ...here()],
      [...good, "--data", ""],
    ];
    for (const args of bad) assert.equal((await run(args)).code, 2, args.join(" "));
    const named = await run(["create", "a\tb", "--produce", "a.", ...here()]);
    assert.deepEqual([named.code, named.stdout], [1, ""]);
  });

  it("goes to the database of the environment, and to an agent with a key at hand", async () => {
    const env = { STREAMHOUSE_METADATA: "mysql://h/d" };
    const direct = await run(["list"], env);
    assert.match(direct.stderr, /metadata is mysql:/);
    const asked = await run(["list", "--agents", "127.0.0.1:1"], {
      ...env,
      STREAMHOUSE_API_KEY: "sh_x",
    });
    assert.equal(asked.code, 1);
    assert.match(asked.stderr, /127\.0\.0\.1:1/);
  });
});
