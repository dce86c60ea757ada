/**
 * The S3 store on a real S3 server: the contracts that memory and folder keep too, sinks of several agents that race, and the store on
 * Node, Bun and Deno. Nothing here runs against imitations: those ignore `If-None-Match`.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Radosgw, startRadosgw } from "../../scripts/backends/radosgw.ts";
import type { RuntimeName } from "../../scripts/runtimes.ts";
import { systemClock } from "../../src/core/clock.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import { createObjectSink } from "../../src/storage/object-sink.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { createS3Store, type S3StoreOptions } from "../../src/storage/s3.ts";
import { objectStoreContract } from "../../src/testing/contracts/object-store.ts";
import { segmentSinkContract } from "../../src/testing/contracts/segment-sink.ts";
import { runFile } from "./running.ts";

let server: Radosgw;
before(async () => {
  server = await startRadosgw();
});
after(() => server.stop());

let prefixes = 0;
const newPrefix = () => `contract/${++prefixes}`;

function open(prefix = newPrefix(), options: Partial<S3StoreOptions> = {}): ObjectStore {
  const { bucket, endpoint, region } = server;
  return createS3Store({}, { bucket, prefix, endpoint, region, credentials: server, ...options });
}

objectStoreContract("s3", { create: async () => open() });

segmentSinkContract("objects in s3", {
  create: async () => {
    const store = open("contract/sinks");
    return { store, sink: createObjectSink({ store, clock: systemClock }) };
  },
});

describe("stores in one bucket", () => {
  it("see nothing of each other under different prefixes, even where one begins like another", async () => {
    const [one, two] = [open("house"), open("house-2")];
    await one.put("a", [Uint8Array.of(1)]);
    await two.put("a", [Uint8Array.of(2)]);
    await two.put("b", []);
    const keys: string[] = [];
    for await (const { key } of one.list("")) keys.push(key);
    assert.deepEqual(keys, ["a"]);
    assert.deepEqual(await one.get("a"), Uint8Array.of(1));
    await one.delete(["a", "b"]);
    assert.equal((await two.head("b"))?.size, 0);
    await Promise.all([one.close(), two.close()]);
  });

  it("leave out of lists what others put there under names that are no keys", async () => {
    const { PutObjectCommand, S3Client } = await import("@aws-sdk/client-s3");
    const { bucket: Bucket, endpoint, region } = server;
    const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials: server });
    for (const Key of ["console/", "console/a folder/", "console/seg"]) {
      await client.send(new PutObjectCommand({ Bucket, Key, Body: "" }));
    }
    client.destroy();
    const store = open("console");
    const keys: string[] = [];
    for await (const { key } of store.list("")) keys.push(key);
    assert.deepEqual(keys, ["seg"]);
    await store.close();
  });
});

describe("object sinks of several agents over one bucket", () => {
  const chunk = (fill: number) => [new Uint8Array(60_000).fill(fill), Uint8Array.of(fill)];
  const runs = ["01K0000000000000000000000A", "01K0000000000000000000000B"] as const;

  it("have one winner for a key that two twins race for, and the loser learns it", async () => {
    const prefix = newPrefix();
    const stores = [open(prefix), open(prefix)];
    // One run id twice: what two processes would be after a cloned disk or a copied configuration.
    const sinks = stores.map((store) => createObjectSink({ store, clock: systemClock }));
    for (let sequence = 1; sequence <= 20; sequence++) {
      const flush = { runId: runs[0], sequence };
      const raced = await Promise.allSettled(sinks.map((it, i) => it.append(chunk(i), flush)));
      const won = raced.flatMap((it, i) => (it.status === "fulfilled" ? [i] : []));
      assert.equal(won.length, 1, `sequence ${sequence}`);
      for (const it of raced) {
        if (it.status === "fulfilled") {
          const [winner = -1] = won;
          assert.deepEqual(await stores[1 - winner]?.get(it.value.key), whole(chunk(winner)));
        } else {
          assert.ok(StreamHouseError.is(it.reason) && it.reason.code === "OBJECT_EXISTS");
        }
      }
    }
    await Promise.all([...sinks, ...stores].map((it) => it.close()));
  });

  it("never meet under different runs: every chunk of both is there", async () => {
    const prefix = newPrefix();
    const store = open(prefix);
    const sinks = runs.map(() => createObjectSink({ store, clock: systemClock }));
    const written = await Promise.all(
      Array.from({ length: 30 }, (_, i) => {
        const flush = { runId: runs[i % 2] ?? "", sequence: 1 + (i >> 1) };
        return (sinks[i % 2] ?? assert.fail()).append(chunk(i), flush);
      }),
    );
    assert.equal(new Set(written.map(({ key }) => key)).size, 30);
    for (const [i, { key }] of written.entries()) {
      assert.deepEqual(await store.get(key), whole(chunk(i)));
    }
    await Promise.all([...sinks, store].map((it) => it.close()));
  });
});

describe("the S3 store with credentials from the environment", () => {
  for (const runtime of ["node", "bun", "deno"] satisfies RuntimeName[]) {
    it(`stores, reads, races, lists and deletes on ${runtime}`, async () => {
      const url = server.url(`on-${runtime}`);
      const child = runFile(runtime, "test/peers/programs/s3-store.ts", [url], server.env);
      const seen = await child.result<Record<string, unknown>>();
      assert.deepEqual(seen, {
        ...{ large: true, inParts: true, unsigned: true, range: true, small: [1, 2, 3, 4] },
        ...{ empty: 0, crc32c: 0x29308cf4, winners: 1 },
        losers: Array.from({ length: 7 }, () => "OBJECT_EXISTS"),
        ...{ missing: "OBJECT_NOT_FOUND", tooShort: "CORRUPT_SEGMENT", aborted: "ABORTED" },
        keys: ["empty", "large", "raced", "small"],
        left: ["in-parts", "unsigned"],
      });
    });
  }
});

function whole(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((it) => [...it]));
}
