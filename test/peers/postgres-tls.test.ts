/** Metadata over TLS in a real PostgreSQL: what `sslmode` and `sslrootcert` promise, on all three runtimes. */
import assert from "node:assert/strict";
import { chownSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import { unprivileged } from "../../scripts/backends/postgres-server.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { createPostgresMetadata } from "../../src/metadata/postgres.ts";
import { scratch } from "../package/packed.ts";
import { makeCertificates } from "../unit/rpc/certificates.ts";
import { runFile } from "./running.ts";

describe("metadata over TLS", () => {
  const folder = scratch("postgres-tls");
  const file = (name: string) => join(folder.path, name);
  let secure: PostgresServer;
  let plain: PostgresServer;
  before(async () => {
    const { authority, other } = await makeCertificates();
    const server = await authority.issue({ names: ["localhost"] });
    writeFileSync(file("ca.pem"), authority.cert);
    writeFileSync(file("other.pem"), other.cert);
    writeFileSync(file("server.pem"), server.cert);
    writeFileSync(file("server.key"), server.key, { mode: 0o600 });
    const { uid, gid } = unprivileged();
    for (const name of ["", "server.pem", "server.key"]) {
      if (uid !== undefined && gid !== undefined) chownSync(file(name), uid, gid);
    }
    const tls = { ssl_cert_file: file("server.pem"), ssl_key_file: file("server.key") };
    [secure, plain] = await Promise.all([startPostgres({ ssl: "on", ...tls }), startPostgres()]);
  });
  after(async () => {
    await Promise.all([secure?.remove(), plain?.remove()]);
    folder.remove();
  });

  it("is encrypted with sslmode=require", async () => {
    const components = { clock: systemClock, logger: silentLogger };
    const url = `${secure.url}?sslmode=require`;
    const metadata = await createPostgresMetadata(components, { url });
    try {
      await metadata.listTopics();
      const rows = await secure.query(
        "SELECT bool_and(s.ssl) AS encrypted FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()",
      );
      assert.equal(rows[0]?.encrypted, true);
    } finally {
      await metadata.close();
    }
  });

  for (const runtime of ["node", "bun", "deno"] as const) {
    it(`is verified with sslmode=verify-full, on ${runtime}`, async () => {
      const byName = secure.url.replace("127.0.0.1", "localhost");
      const full = (url: string, ca: string) =>
        `${url}?sslmode=verify-full&sslrootcert=${encodeURIComponent(file(ca))}`;
      const cases: readonly (readonly [string, RegExp])[] = [
        [full(byName, "ca.pem"), /^opened/],
        [`${secure.url}?sslmode=require`, /^opened/],
        [full(byName, "other.pem"), /its certificate is not accepted.*sslrootcert/],
        [`${byName}?sslmode=verify-full`, /its certificate is not accepted.*sslrootcert/],
        // The certificate holds the name only: an address is compared as what it is.
        [full(secure.url, "ca.pem"), /its certificate is not accepted/],
        [full(byName, "none.pem"), /sslrootcert names cannot be read \(ENOENT\)/],
        [full(secure.url, "ca.pem").replace("verify-full", "require"), /needs sslmode=verify-full/],
        [`${plain.url}?sslmode=require&connect_timeout=2`, /offers no TLS|reached/],
      ];
      const urls = cases.map(([url]) => url);
      const child = runFile(runtime, "test/peers/programs/postgres-tls.ts", urls);
      const { seen } = await child.result<{ readonly seen: readonly string[] }>();
      assert.equal(seen.length, cases.length);
      for (const [i, [url, expected]] of cases.entries()) {
        assert.match(seen[i] ?? "", expected, url);
        assert.equal((seen[i] ?? "").includes("only-for-tests"), false);
      }
    });
  }
});
