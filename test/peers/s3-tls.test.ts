/**
 * The S3 store over https, on all three runtimes: a real S3 server behind a proxy that speaks TLS. A private authority is named in
 * NODE_EXTRA_CA_CERTS; without it nothing is sent.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { createServer, type Server } from "node:tls";
import { type Radosgw, startRadosgw } from "../../scripts/backends/radosgw.ts";
import { scratch } from "../package/packed.ts";
import { makeCertificates } from "../unit/rpc/certificates.ts";
import { runFile } from "./running.ts";

describe("objects over https", () => {
  const folder = scratch("s3-tls");
  const ca = join(folder.path, "ca.pem");
  let s3: Radosgw;
  let proxy: Server;
  let url = "";
  before(async () => {
    const { authority, right } = await makeCertificates();
    writeFileSync(ca, authority.cert);
    s3 = await startRadosgw();
    const { hostname, port } = new URL(s3.endpoint);
    proxy = createServer(right, (client) => {
      const server = createConnection({ host: hostname, port: Number(port) });
      client.pipe(server).pipe(client);
      client.on("error", () => server.destroy());
      server.on("error", () => client.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const address = proxy.address() as { readonly port: number };
    const endpoint = encodeURIComponent(`https://localhost:${address.port}`);
    url = `s3://${s3.bucket}/over-tls?endpoint=${endpoint}&region=${s3.region}`;
  });
  after(async () => {
    proxy?.close();
    await s3?.stop();
    folder.remove();
  });

  for (const runtime of ["node", "bun", "deno"] as const) {
    it(`come back as they were on ${runtime}, and go to nobody who is not trusted`, async () => {
      const program = "test/peers/programs/s3-tls.ts";
      const trusting = runFile(runtime, program, [url, runtime], {
        ...s3.env,
        NODE_EXTRA_CA_CERTS: ca,
      });
      assert.deepEqual(await trusting.result(), { seen: "4 MiB as they were" });
      const wary = runFile(runtime, program, [url, `${runtime}-2`], { ...s3.env });
      const { seen } = await wary.result<{ readonly seen: string }>();
      assert.match(seen, /^STORE_UNAVAILABLE .*certificate is not accepted.*NODE_EXTRA_CA_CERTS/);
    });
  }
});
