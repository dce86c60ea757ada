/** A client that nobody here wrote: Python's grpcio from Debian, with stubs that protoc makes from `proto/`. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { root } from "../../scripts/runtimes.ts";
import { serve } from "../../src/agent.ts";
import { command, scratch } from "../package/packed.ts";

interface Status {
  readonly status: string;
  readonly message?: string;
  readonly code?: string;
  readonly field?: string;
}

type Seen = Readonly<Record<string, Status>> & {
  readonly offsets: readonly number[];
  readonly base_offsets: readonly number[];
  readonly same: readonly boolean[];
  readonly high_watermark: number;
  readonly partitions: number;
  readonly after: number;
};

describe("a Python gRPC client", () => {
  const folder = scratch("python");
  let server: Awaited<ReturnType<typeof serve>>;
  let seen: Seen;

  before(async () => {
    const stubs = join(folder.path, "stubs");
    mkdirSync(stubs);
    const names = ["error", "producer", "consumer", "admin", "group"];
    const made = await command("protoc", [
      "-Iproto",
      `--python_out=${stubs}`,
      `--grpc_out=${stubs}`,
      "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin",
      ...names.map((name) => `streamhouse/v1/${name}.proto`),
    ]);
    assert.equal(made.code, 0, `protoc (Debian's protobuf-compiler): ${made.stderr}`);
    server = await serve({
      data: join(folder.path, "data"),
      grpc: "127.0.0.1:0",
      http: "127.0.0.1:0",
    });
    const script = join(root, "test/peers/python/client.py");
    const ran = await command("/usr/bin/python3", [script, stubs, server.grpc]);
    assert.equal(ran.code, 0, ran.stderr);
    seen = JSON.parse(ran.stdout) as Seen;
  });
  after(async () => {
    await server?.stop();
    folder.remove();
  });

  it("creates a topic and sees its partitions", () => assert.equal(seen.partitions, 2));

  it("produces a RecordBatch made by hand and is told its offsets", () => {
    assert.deepEqual(seen.offsets, [0, 4]);
  });

  it("fetches the batches back byte for byte, with base offsets written in", () => {
    assert.deepEqual(seen.same, [true, true]);
    assert.deepEqual(seen.base_offsets, [0, 4]);
    assert.equal(seen.high_watermark, 8);
  });

  const expected: Readonly<Record<string, readonly [status: string, code: string]>> = {
    unknown_topic: ["NOT_FOUND", "TOPIC_NOT_FOUND"],
    bad_crc: ["INVALID_ARGUMENT", "CORRUPT_BATCH"],
    truncated: ["INVALID_ARGUMENT", "CORRUPT_BATCH"],
    oversize: ["INVALID_ARGUMENT", "BATCH_TOO_LARGE"],
    wrong_partition: ["INVALID_ARGUMENT", "PARTITION_OUT_OF_RANGE"],
    magic: ["INVALID_ARGUMENT", "UNSUPPORTED_MAGIC"],
    lz4: ["INVALID_ARGUMENT", "UNSUPPORTED_COMPRESSION"],
    exists: ["ALREADY_EXISTS", "TOPIC_EXISTS"],
  };
  for (const [name, [status, code]] of Object.entries(expected)) {
    it(`gets ${status} with ${code} for: ${name.replace("_", " ")}`, () => {
      assert.equal(seen[name]?.status, status, JSON.stringify(seen[name]));
      assert.equal(seen[name]?.code, code);
      assert.ok((seen[name]?.message ?? "").length > 20, "the message says what to do");
    });
  }

  it("gets RESOURCE_EXHAUSTED from gRPC itself for a message over the limit", () => {
    assert.equal(seen.beyond_message?.status, "RESOURCE_EXHAUSTED");
  });

  it("leaves nothing half-written by what was refused", () => assert.equal(seen.after, 8));
});
