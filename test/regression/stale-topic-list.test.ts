/**
 * Broke: a topic that was just made, with records in it, was taken for deleted: its batches failed, and its partitions were refused
 * as damaged until the agent was restarted.
 * Why: a list of topics that was read before the topic was made, and answered after, replaced what the agent knew. What it
 * lacked counted as deleted, and the index of its partitions was thrown away.
 * Cure: a list that was asked for before a topic was made, changed or deleted through this agent is read again.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { withFaults } from "../fault/faulty-metadata.ts";
import {
  createTopic,
  eventually,
  memoryMetadata,
  readAll,
  sendAndWait,
  startAgent,
} from "../unit/agent/bench-agent.ts";

/** The next list that is asked for is read at once and answered when `release()` is called. */
function slowLists(inner: MetadataStore) {
  let slow = false;
  let release: (() => void) | undefined;
  const listTopics: MetadataStore["listTopics"] = async () => {
    const topics = await inner.listTopics();
    if (slow) {
      slow = false;
      await new Promise<void>((resolve) => {
        release = resolve;
      });
    }
    return topics;
  };
  const metadata = new Proxy(inner, {
    get: (target, name) => (name === "listTopics" ? listTopics : Reflect.get(target, name, target)),
  });
  return {
    metadata,
    slowDown: () => {
      slow = true;
    },
    isWaiting: () => release !== undefined,
    release: () => release?.(),
  };
}

describe("a list of topics that is older than a topic", () => {
  it("does not make the agent forget the topic, or what is in it", async () => {
    const clock = new ManualClock();
    const lists = slowLists(memoryMetadata(clock));
    const { metadata, faults } = withFaults(lists.metadata);
    const bench = await startAgent({ clock, metadata });
    const { api } = bench.agent;
    // A round of the lease manager has read the topics and waits for the runs ...
    faults.next.listRuns = ["hold"];
    await clock.run(3_000);
    await eventually(() => faults.held === 1, "the round waits");
    // ... somebody asks for the list, and the topic is made while that is on its way.
    lists.slowDown();
    const listed = api.listTopics({}, {});
    await eventually(lists.isWaiting, "the old list is on its way");
    const made = createTopic(bench, "t");
    await eventually(() => faults.calls.includes("createTopic"), "the topic is made");
    faults.release();
    await eventually(() => bench.agent.hasActiveLeases(), "its lease is held");
    assert.equal(await sendAndWait(bench, "t", ["a"]), 0);
    lists.release();
    const { topics } = await clock.until(listed);
    assert.deepEqual(
      topics.map((it) => it.name),
      ["t"],
    );
    const topicId = await clock.until(made);
    assert.equal(await sendAndWait(bench, "t", ["b"]), 1);
    assert.deepEqual(await readAll(bench, topicId), ["a", "b"]);
    await clock.until(bench.agent.stop());
  });
});
