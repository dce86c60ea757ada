import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type ConsumerOptions, resolveConsumerOptions } from "../../../src/consumer/options.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";

function fieldOf(options: ConsumerOptions): string | undefined {
  try {
    resolveConsumerOptions(options);
  } catch (error) {
    assert.ok(StreamHouseError.is(error));
    return error.field;
  }
  return assert.fail("was accepted");
}

describe("a consumer's options", () => {
  const group = "g";
  const topics = ["t"];
  const t0 = { topic: "t", partition: 0 };

  it("begin at the log's start and commit by themselves unless told otherwise", () => {
    const options = resolveConsumerOptions({ group, topics });
    assert.equal(options.offsetReset, "earliest");
    assert.equal(options.readFrom, "holder");
    assert.equal(options.autoCommit, true);
    assert.equal(options.autoCommitIntervalMs, 5_000);
    assert.equal(options.prefetchBytes, 16_777_216);
    assert.equal(options.fetchMaxWaitMs, 500);
    assert.equal(options.sessionTimeoutMs, 10_000);
    assert.ok(Object.isFrozen(options) && Object.isFrozen(options.topics));
  });

  it("never commit by themselves without a group", () => {
    assert.equal(resolveConsumerOptions({ assign: [t0] }).autoCommit, false);
  });

  it("are refused with the field that is wrong", () => {
    assert.equal(fieldOf({}), "topics");
    assert.equal(fieldOf({ group }), "topics");
    assert.equal(fieldOf({ topics }), "group");
    assert.equal(fieldOf({ group: "", topics }), "group");
    assert.equal(fieldOf({ group: "x".repeat(250), topics }), "group");
    assert.equal(fieldOf({ group, topics: ["no/slash"] }), "name");
    assert.equal(fieldOf({ group, topics, assign: [t0] }), "assign");
    assert.equal(fieldOf({ assign: [] }), "assign");
    assert.equal(fieldOf({ assign: [t0, t0] }), "assign[1]");
    assert.equal(fieldOf({ assign: [{ topic: "t", partition: -1 }] }), "assign[0].partition");
    assert.equal(fieldOf({ assign: [{ ...t0, offset: 1.5 }] }), "assign[0].offset");
    assert.equal(fieldOf({ group, topics, sessionTimeoutMs: 999 }), "sessionTimeoutMs");
    assert.equal(fieldOf({ group, topics, prefetchBytes: 0 }), "prefetchBytes");
    assert.equal(fieldOf({ group, topics, maxPollRecords: Number.NaN }), "maxPollRecords");
    assert.equal(fieldOf({ group, topics, lagIntervalMs: 5_001 }), "lagIntervalMs");
    const offsetReset = "newest" as "latest";
    assert.equal(fieldOf({ group, topics, offsetReset }), "offsetReset");
    const readFrom = "follower" as "any";
    assert.equal(fieldOf({ group, topics, readFrom }), "readFrom");
  });
});
