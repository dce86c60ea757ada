/** A client that nobody here wrote, over mutual TLS and with an API key: Python's grpcio from Debian. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { root } from "../../scripts/runtimes.ts";
import { serve } from "../../src/agent.ts";
import { command, scratch } from "../package/packed.ts";
import { makeCertificates } from "../unit/rpc/certificates.ts";

describe("a Python gRPC client over TLS", () => {
  it("is let in with key and certificate, and refused without either", async () => {
    const folder = scratch("python-tls");
    const stubs = join(folder.path, "stubs");
    mkdirSync(stubs);
    const made = await command("protoc", [
      ...["-Iproto", `--python_out=${stubs}`, `--grpc_out=${stubs}`],
      "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin",
      "streamhouse/v1/admin.proto",
    ]);
    assert.equal(made.code, 0, `protoc (Debian's protobuf-compiler): ${made.stderr}`);
    const { authority, other, right, client } = await makeCertificates();
    for (const [name, text] of [
      ["ca.pem", authority.cert],
      ["other.pem", other.cert],
      ["client.pem", client.cert],
      ["client.key", client.key],
    ] as const) {
      writeFileSync(join(folder.path, name), text);
    }
    await using served = await serve({
      data: join(folder.path, "data"),
      grpc: "127.0.0.1:0",
      http: false,
      telemetry: false,
      tls: { ...right, clientCa: authority.cert },
      access: "keys",
    });
    const rights = [{ action: "admin", topicPrefix: "" }];
    const { text } = await served.agent.api.createKey({ name: "python", rights, lifeMs: 0 }, {});
    const address = served.grpc.replace("127.0.0.1", "localhost");
    const script = join(root, "test/peers/python/secure.py");
    const args = [script, stubs, address, folder.path, text];
    const ran = await command("/usr/bin/python3", args);
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(JSON.parse(ran.stdout), {
      right: "OK 0",
      no_key: "UNAUTHENTICATED",
      wrong_key: "UNAUTHENTICATED",
      wrong_ca: "UNAVAILABLE",
      no_certificate: "UNAVAILABLE",
    });
    await served.stop();
    folder.remove();
  });
});
