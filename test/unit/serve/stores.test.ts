/** What `serve` and `embed` make of `data`, `store` and `metadata`: both halves or none, ports or URLs, and no secret in a message. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { systemClock } from "../../../src/core/clock.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import { createSqliteMetadata } from "../../../src/metadata/sqlite.ts";
import { embed } from "../../../src/serve/embed.ts";
import { serve } from "../../../src/serve/serve.ts";
import { missingPeer, peerPackages } from "../../../src/serve/store-urls.ts";
import { openStores, type StoreOptions } from "../../../src/serve/stores.ts";
import { Teardown } from "../../../src/serve/teardown.ts";
import { createMemoryStore } from "../../../src/storage/memory.ts";
import { root } from "../../structure/source-tree.ts";

function open(options: StoreOptions) {
  const teardown = new Teardown(silentLogger);
  const opening = openStores(options, {
    clock: systemClock,
    logger: silentLogger,
    teardown,
  });
  return { opening, teardown };
}

async function refusal(options: StoreOptions): Promise<StreamHouseError> {
  const { opening, teardown } = open(options);
  try {
    await opening;
  } catch (error) {
    assert.ok(StreamHouseError.is(error), String(error));
    return error;
  } finally {
    await teardown.unwind();
  }
  assert.fail("it was not refused");
}

describe("the stores that options name", () => {
  const cases: readonly (readonly [string, StoreOptions, string, RegExp])[] = [
    ["a store alone", { store: "s3://b" }, "metadata", /name metadata too, such as postgres:/],
    ["metadata alone", { metadata: "postgres://h/d" }, "store", /name store too, such as s3:/],
    ["a folder and a store", { data: "d", store: "s3://b" }, "data", /leave data out/],
    ["a folder and metadata", { data: "d", metadata: "postgres://h" }, "data", /leave data out/],
    [
      "a metadata URL of another kind",
      { store: "s3://b", metadata: "mysql://user:secret@h/d" },
      "metadata",
      /metadata is mysql:: expected postgres:\/\//,
    ],
    [
      "a metadata text that is no URL",
      { store: "s3://b", metadata: "user:secret" },
      "metadata",
      /metadata is no URL/,
    ],
  ];
  for (const [name, options, field, text] of cases) {
    it(`refuse ${name}, naming the field and what to write`, async () => {
      const error = await refusal(options);
      assert.equal(error.code, "INVALID_ARGUMENT");
      assert.equal(error.field, field);
      assert.match(error.message, text);
      assert.doesNotMatch(error.message, /secret/);
    });
  }

  it("refuse a store URL of another kind, and close what was opened before", async () => {
    const metadata = createSqliteMetadata({ path: ":memory:", clock: systemClock });
    const error = await refusal({ store: "gs://bucket", metadata });
    assert.equal(error.field, "store");
    assert.match(error.message, /store is gs:: expected s3:\/\/BUCKET/);
    // The application's own stays open.
    assert.deepEqual(await metadata.listTopics(), []);
    await metadata.close();
  });

  it("take ports of the application's own, share them with other agents, and leave them open", async () => {
    const metadata = createSqliteMetadata({ path: ":memory:", clock: systemClock });
    const store = createMemoryStore({ clock: systemClock });
    const { opening, teardown } = open({ store, metadata });
    const stores = await opening;
    assert.equal(stores?.predecessorsDead, false);
    assert.equal(stores?.store, store);
    await teardown.unwind();
    assert.deepEqual(await metadata.listTopics(), []);
    await store.put("key", [new Uint8Array(1)]);
    await metadata.close();
  });

  it("name what to install when an optional package is missing, at the version that is tested", async () => {
    const text = await readFile(join(root, "package.json"), "utf8");
    const { devDependencies } = JSON.parse(text) as { devDependencies: Record<string, string> };
    for (const versioned of Object.values(peerPackages)) {
      const at = versioned.lastIndexOf("@");
      assert.equal(devDependencies[versioned.slice(0, at)], versioned.slice(at + 1));
    }
    const error = missingPeer("metadata", "postgres:", new Error("not found"));
    assert.equal(error.code, "NOT_SUPPORTED");
    assert.match(error.message, /npm install postgres@\d/);
  });

  it("serve() names both ways when nothing is given; embed() then keeps everything in memory", async () => {
    await assert.rejects(serve({}), /neither data nor store and metadata are given/);
    await using house = await embed({ telemetry: false });
    assert.equal(house.agent.status().phase, "standby");
  });
});
