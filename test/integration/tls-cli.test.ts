/** TLS and keys on the command line: from files and the environment, never in the list of processes; renewed without a restart. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type Identity, makeCertificates } from "../unit/rpc/certificates.ts";
import { eventually, type Finished, startAgent, startCli } from "./child.ts";
import { temporaryFolder } from "./ways.ts";

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const child = startCli(args, { env });
  child.process.stdin.end();
  return child.finished();
}

describe("the command line over TLS", () => {
  it("serves with certificates from files, asks for keys, and reads renewed certificates again", async () => {
    const folder = await temporaryFolder();
    const file = (name: string) => join(folder.path, name);
    const { authority, other, right } = await makeCertificates();
    const install = async (identity: Identity) => {
      await writeFile(file("cert.pem"), identity.cert);
      await writeFile(file("key.pem"), identity.key);
    };
    await install(right);
    await writeFile(file("ca.pem"), authority.cert);
    await writeFile(file("other.pem"), other.cert);

    const data = file("data");
    const made = await run(["keys", "create", "ops", "--admin", "*", "--data", data]);
    assert.equal(made.code, 0, made.stderr);
    await writeFile(file("api-key"), made.stdout);

    const agent = await startAgent(data, "127.0.0.1:0", [
      ...["--tls-cert", file("cert.pem"), "--tls-key", file("key.pem")],
      ...["--advertise", "localhost:0", "--require-keys"],
    ]);
    const at = ["--agents", agent.grpc.replace("127.0.0.1", "localhost")];
    const ca = ["--tls-ca", file("ca.pem")];
    try {
      const keyFile = ["--api-key-file", file("api-key")];
      const created = await run(["topic", "create", "orders", ...at, ...ca, ...keyFile]);
      assert.equal(created.code, 0, created.stderr);
      const key = made.stdout.trim();
      const env = { STREAMHOUSE_API_KEY: key };
      const listed = await run(["topic", "list", ...at, ...ca], env);
      assert.match(listed.stdout, /orders/);

      const failures: readonly (readonly [readonly string[], Record<string, string>, RegExp])[] = [
        [["topic", "list", ...at, ...ca], {}, /key/],
        [["topic", "list", ...at], env, /connect with tls/],
        [["topic", "list", ...at, "--tls"], env, /not from an authority/],
        [["topic", "list", ...at, "--tls-ca", file("none.pem")], env, /--tls-ca .*ENOENT/],
        [["topic", "list", ...at, ...ca, "--api-key-file", file("ca.pem")], {}, /is no key/],
      ];
      for (const [args, variables, says] of failures) {
        const { code, stderr } = await run(args, variables);
        assert.match(stderr, says);
        assert.equal(stderr.includes(key), false);
        assert.notEqual(code, 0);
      }

      await install(await other.issue());
      await eventually("the new certificate in use", async () => {
        const seen = await run(["topic", "list", ...at, "--tls-ca", file("other.pem")], env);
        return seen.code === 0;
      });
      const old = await run(["topic", "list", ...at, ...ca], env);
      assert.match(old.stderr, /not from an authority/);
      assert.equal(agent.child.ended, false);
    } finally {
      await agent.child.end();
      await folder.remove();
    }
    assert.equal((await agent.child.finished()).stderr.includes(made.stdout.trim()), false);
  });

  it("refuses options that do not go together", async () => {
    const wrong: readonly (readonly [readonly string[], RegExp])[] = [
      [["agent", "--data", "d", "--tls-key", "k.pem"], /cannot be read|needs --tls-cert/],
      [["agent", "--store", "s3://b", "--metadata-file", "none"], /--metadata-file .*ENOENT/],
      [["agent", "--store", "s3://b"], /STREAMHOUSE_METADATA/],
    ];
    for (const [args, says] of wrong) {
      const { code, stderr } = await run(args);
      assert.deepEqual([code, says.test(stderr)], [2, true], stderr);
    }
  });

  it("takes the database's URL from the environment, and tells no password of it", async () => {
    const env = { STREAMHOUSE_METADATA: "postgres://u:s3cr3t@127.0.0.1:1/db?connect_timeout=1" };
    const { code, stderr } = await run(
      ["agent", "--store", "s3://b?region=r", "--http", "127.0.0.1:0"],
      env,
    );
    assert.equal(code, 1, stderr);
    assert.match(stderr, /127\.0\.0\.1:1\/db/);
    assert.equal(stderr.includes("s3cr3t"), false);
  });
});
