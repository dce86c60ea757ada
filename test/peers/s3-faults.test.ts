/**
 * The S3 store, with what an agent puts around it, when the network or the service fails: a real S3 server behind a proxy that fails on
 * command. Nothing is lost, nothing is overwritten, and every attempt is counted.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Radosgw, startRadosgw } from "../../scripts/backends/radosgw.ts";
import { systemClock } from "../../src/core/clock.ts";
import { type ErrorCode, type ErrorOutcome, StreamHouseError } from "../../src/core/errors.ts";
import { systemRandom } from "../../src/core/ids.ts";
import { instrumentStore } from "../../src/storage/instrumented.ts";
import { createObjectSink } from "../../src/storage/object-sink.ts";
import { createRetryingStore } from "../../src/storage/retrying.ts";
import { createS3Store, type S3StoreOptions } from "../../src/storage/s3.ts";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import { createMetricRegistry } from "../../src/telemetry/registry.ts";
import { eventually } from "../integration/child.ts";
import { type HttpFault, type S3Proxy, startS3Proxy } from "./s3-proxy.ts";

let server: Radosgw;
let proxy: S3Proxy;
before(async () => {
  server = await startRadosgw();
  proxy = await startS3Proxy(server.endpoint);
});
after(async () => {
  await proxy[Symbol.asyncDispose]();
  await server.stop();
});

const body = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) % 253);
let stores = 0;

function options(more: Partial<S3StoreOptions> = {}): S3StoreOptions {
  const { bucket, region } = server;
  const prefix = `faults/${++stores}`;
  return { bucket, region, prefix, endpoint: proxy.endpoint, credentials: server, ...more };
}

/** As an agent has it: retrying over instrumented over the store. */
function open(more: Partial<S3StoreOptions> = {}) {
  proxy.heal();
  const metrics = createMetricRegistry();
  const clock = systemClock;
  const bare = createS3Store({}, options(more));
  const store = createRetryingStore({
    store: instrumentStore(bare, { metrics, clock }),
    ...{ clock, metrics, random: systemRandom },
  });
  const attempts = (operation: string, outcome: string) =>
    metrics.histogram(catalogue.storeOperationDuration, { operation, outcome }).count;
  const retries = (operation: string) =>
    metrics.counter(catalogue.storeRetries, { operation, outcome: "STORE_UNAVAILABLE" }).value;
  // For this store's own requests: one that an earlier test gave up may still be on its way.
  const own = stores;
  const plan = (line: string, ...faults: readonly HttpFault[]) =>
    proxy.plan(new RegExp(line.replace("OWN", `faults(/|%2F)${own}(/|%2F)`)), ...faults);
  const seen = (line: RegExp) =>
    proxy.seen.filter((it) => it.includes(`faults/${own}/`) && line.test(it)).length;
  const sink = createObjectSink({ store, clock, metrics });
  return { bare, store, attempts, retries, plan, seen, sink };
}

function failure(code: ErrorCode, outcome: ErrorOutcome, mention: RegExp = /./) {
  return (error: unknown) => {
    assert.ok(StreamHouseError.is(error), String(error));
    const { message } = error;
    assert.deepEqual([error.code, error.outcome], [code, outcome], message);
    assert.match(message, mention);
    assert.doesNotMatch(`${message} ${error.stack}`, new RegExp(server.secretAccessKey));
    return true;
  };
}

const SLOW_DOWN: HttpFault = { status: 503, code: "SlowDown" };
const INTERNAL: HttpFault = { status: 500, code: "InternalError" };
const CONFLICT: HttpFault = { status: 409, code: "ConditionalRequestConflict" };

describe("an S3 store behind a bad network", () => {
  it("puts through 503, 500, 409 and broken connections, and counts each attempt", async () => {
    const { store, attempts, retries, plan } = open();
    plan("^PUT .*OWN", SLOW_DOWN, INTERNAL, CONFLICT, "cut-request");
    await store.put("a", [body]);
    assert.deepEqual(await store.get("a"), body);
    assert.equal(attempts("put", "STORE_UNAVAILABLE"), 4);
    assert.equal(attempts("put", "ok"), 1);
    assert.equal(retries("put"), 4);
    await store.close();
  });

  it("reads, looks, lists and deletes through errors and answers that end in the middle", async () => {
    const { store, attempts, retries, plan } = open();
    await store.put("a", [body]);
    plan("^GET .*OWNa\\?", SLOW_DOWN, "cut-answer", "lose");
    assert.deepEqual(await store.get("a"), body);
    plan("^GET .*OWNa\\?", "cut-answer");
    assert.deepEqual(
      await store.get("a", { start: 10, length: 250_000 }),
      body.subarray(10, 250_010),
    );
    plan("^HEAD .*OWN", { status: 503, code: "" });
    assert.equal((await store.head("a"))?.size, body.length);
    plan("^GET .*list-type.*OWN", "lose", INTERNAL);
    const listed: string[] = [];
    for await (const { key } of store.list("")) listed.push(key);
    assert.deepEqual(listed, ["a"]);
    plan("^POST .*delete", "lose", SLOW_DOWN);
    await store.delete(["a"]);
    assert.equal(await store.head("a"), undefined);
    const counted = ["get", "head", "list", "delete"].map((it) => retries(it));
    assert.deepEqual(counted, [4, 1, 2, 2]);
    assert.equal(attempts("get", "STORE_UNAVAILABLE"), 4);
    await store.close();
  });

  it("waits as long as the service asks for", async () => {
    const { store, plan } = open();
    plan("^PUT .*OWN", { status: 503, code: "SlowDown", retryAfter: "1" });
    const began = systemClock.monotonic();
    await store.put("a", [body]);
    // Not less than asked for, as far as timers are exact; how much more is the machine's affair.
    assert.ok(systemClock.monotonic() - began >= 950);
    await store.close();
  });

  it("ends a request that is not answered in time, and says what is known of it", async () => {
    const { bare, plan } = open({ requestTimeoutMs: 300 });
    plan("^PUT .*OWN", "hang");
    const late = failure("STORE_UNAVAILABLE", "unknown", /not answered within/);
    await assert.rejects(bare.put("a", [body]), late);
    plan("^GET .*OWN", "hang");
    await assert.rejects(bare.get("a"), failure("STORE_UNAVAILABLE", "none", /not answered/));
    await bare.close();
  });

  it("ends a request at once when its caller gives up or the store is closed", async () => {
    const { bare, plan, seen } = open();
    plan("OWN", "hang", "hang", "hang");
    const caller = new AbortController();
    const put = bare.put("a", [body], caller.signal);
    const get = bare.get("a", undefined, caller.signal);
    const head = bare.head("a");
    await eventually("three requests that hang", () => seen(/./) === 3);
    caller.abort();
    await assert.rejects(put, failure("ABORTED", "unknown"));
    await assert.rejects(get, failure("ABORTED", "none"));
    await bare.close();
    await assert.rejects(head, failure("CLOSED", "none"));
  });

  it("takes its own object for success when the answer was lost, in a sink", async () => {
    const { sink, store, attempts, plan } = open();
    plan("^PUT .*OWN", "lose");
    const flush = { runId: "01K0000000000000000000000A", sequence: 1 };
    const { key, length } = await sink.append(
      [body.subarray(0, 1_000), body.subarray(1_000)],
      flush,
    );
    assert.equal(length, body.length);
    assert.deepEqual(await store.get(key), body);
    assert.equal(attempts("put", "OBJECT_EXISTS"), 1);
    // The same key with other bytes of the same length is not its own.
    const other = sink.append([body.toReversed()], flush);
    await assert.rejects(other, failure("OBJECT_EXISTS", "none"));
    await store.close();
  });

  it("hedges a put that hangs, and leaves nothing under way", async () => {
    const { sink, store, plan } = open();
    plan("^PUT .*OWN", "hang");
    const flush = { runId: "01K0000000000000000000000A", sequence: 7 };
    const { key } = await sink.append([body], flush);
    assert.match(key, /-000000000007-2\.seg$/);
    assert.deepEqual(await store.get(key), body);
    await sink.close();
    await store.close();
  });

  it("has bytes that changed on the way refused, and sends them again", async () => {
    const { store, attempts, plan } = open();
    plan("^PUT .*OWN", "damage");
    await store.put("a", [body]);
    assert.equal(attempts("put", "STORE_UNAVAILABLE"), 1);
    assert.deepEqual(await store.get("a"), body);
    await store.close();
  });
});

describe("an S3 store and what an operator has to mend", () => {
  const cases: readonly (readonly [string, Partial<S3StoreOptions>, RegExp])[] = [
    ["a bucket that is not there", { bucket: "no-such-bucket" }, /create the bucket/],
    [
      "a key that is not known",
      { credentials: { accessKeyId: "UNKNOWN", secretAccessKey: "hidden" } },
      /does not know the access key/,
    ],
    ["an endpoint where nobody listens", { endpoint: "http://127.0.0.1:1" }, /does it run/],
  ];
  for (const [what, more, mention] of cases) {
    it(`says what to do about ${what}`, async () => {
      const { bare } = open(more);
      await assert.rejects(bare.put("a", [body]), failure("STORE_UNAVAILABLE", "none", mention));
      await assert.rejects(bare.get("a"), failure("STORE_UNAVAILABLE", "none", mention));
      await bare.close();
    });
  }

  it("says what to do about a wrong secret, without showing it", async () => {
    const { bare } = open({ credentials: { ...server, secretAccessKey: "hidden-secret" } });
    await assert.rejects(bare.get("a"), (error) => {
      assert.doesNotMatch(`${(error as Error).message} ${(error as Error).stack}`, /hidden-secret/);
      return failure("STORE_UNAVAILABLE", "none", /secret key/)(error);
    });
    await bare.close();
  });

  it("says what to do where there are no credentials, and hangs on none that do not come", async () => {
    const missing = async () => {
      throw Object.assign(new Error("nothing found"), { name: "CredentialsProviderError" });
    };
    const { bare } = open({ credentials: missing });
    await assert.rejects(bare.get("a"), failure("STORE_UNAVAILABLE", "none", /AWS_ACCESS_KEY_ID/));
    await bare.close();
    const never = () => new Promise<never>(() => {});
    const hanging = open({ credentials: never, requestTimeoutMs: 200 }).bare;
    await assert.rejects(hanging.get("a"), failure("STORE_UNAVAILABLE", "none", /not answered/));
    await hanging.close();
  });

  it("tells which keys could not be deleted", async () => {
    const { bare, plan } = open();
    plan("^POST .*delete", { status: 403, code: "AccessDenied" });
    await assert.rejects(
      bare.delete(["a"]),
      failure("STORE_UNAVAILABLE", "none", /s3:DeleteObject/),
    );
    await bare.close();
  });
});

describe("a large object in several requests", () => {
  const MIB = 1_048_576;
  const large = Uint8Array.from({ length: 12 * MIB }, (_, i) => (i >> 10) % 251);
  const inParts = { multipartBytes: 6 * MIB, partBytes: 5 * MIB };
  const parts = [large.subarray(0, 100), large.subarray(100, 7 * MIB), large.subarray(7 * MIB)];

  it("is one object like any other, and is not overwritten", async () => {
    const { store, bare, seen } = open(inParts);
    await store.put("a", parts);
    assert.equal(seen(/partNumber=/), 3);
    assert.deepEqual(await store.get("a"), large);
    const head = await bare.head("a");
    assert.equal(head?.size, large.length);
    assert.ok(head?.crc32c !== undefined);
    await assert.rejects(bare.put("a", parts), failure("OBJECT_EXISTS", "none"));
    await store.close();
  });

  it("is sent again after a part failed or an answer was lost, and leaves no parts behind", async () => {
    const { store, attempts, plan } = open(inParts);
    plan("OWN.*partNumber=2", "cut-request");
    plan("^POST .*OWN.*uploadId=", { status: 409, code: "ConditionalRequestConflict" });
    await store.put("a", parts);
    assert.deepEqual(await store.get("a"), large);
    assert.equal(attempts("put", "STORE_UNAVAILABLE"), 2);
    plan("^POST .*OWN.*uploadId=", "lose");
    await assert.rejects(store.put("b", parts), failure("OBJECT_EXISTS", "unknown"));
    assert.deepEqual(await store.get("b"), large);
    assert.deepEqual(await unfinished(), []);
    await store.close();
  });

  it("ends and leaves no parts behind when its caller gives up", async () => {
    const { bare, plan, seen } = open(inParts);
    plan("OWN.*partNumber=3", "hang");
    const caller = new AbortController();
    const put = bare.put("a", parts, caller.signal);
    await eventually("the third part", () => seen(/partNumber=3/) === 1);
    caller.abort();
    await assert.rejects(put, failure("ABORTED", "none"));
    assert.equal(await bare.head("a"), undefined);
    assert.deepEqual(await unfinished(), []);
    await bare.close();
  });

  async function unfinished(): Promise<readonly string[]> {
    const { ListMultipartUploadsCommand, S3Client } = await import("@aws-sdk/client-s3");
    const { endpoint, region } = server;
    const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials: server });
    const { Uploads } = await client.send(
      new ListMultipartUploadsCommand({ Bucket: server.bucket }),
    );
    client.destroy();
    return (Uploads ?? []).map(({ Key }) => Key ?? "");
  }
});
