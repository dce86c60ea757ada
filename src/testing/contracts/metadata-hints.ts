/** Hints that something changed: part of the metadata store's contract. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MetadataHint } from "../../metadata/metadata-store.ts";
import { flushOf, fresh, heldTopic, type MetadataSubject } from "./metadata-subject.ts";

/** Generous: a hint may come by the network, and the machine may be busy. */
const HINT_MS_MAX = 20_000;

/** Waits in real time, and moves the store's clock a little each time, for stores whose timers run by it. */
async function seen(subject: MetadataSubject, what: string, ok: () => boolean): Promise<void> {
  const until = performance.now() + HINT_MS_MAX;
  while (!ok()) {
    assert.ok(performance.now() < until, `no hint of ${what}`);
    await subject.advance(10);
    await new Promise<void>((resolve) => setTimeout(resolve, 5));
  }
}

export function hintContract(subject: () => MetadataSubject): void {
  describe("hints", () => {
    it("come after changes of the assignment and of the log, until nobody watches", async () => {
      const { metadata } = subject();
      const hints = new Set<MetadataHint>();
      const end = metadata.watch((hint) => void hints.add(hint));
      const { topic, runId } = await heldTopic(metadata, 1, 1_000_000);
      await seen(subject(), "the assignment", () => hints.has("assignment"));
      hints.clear();
      await metadata.commitFlush(flushOf(runId, 1, [{ topicId: topic.id, baseOffset: 0 }]));
      await seen(subject(), "the log", () => hints.has("log"));
      end();
      end();
      hints.clear();
      // Another watcher proves that the hint went out.
      const others = new Set<MetadataHint>();
      const endOther = metadata.watch((hint) => void others.add(hint));
      await metadata.createTopic({ name: fresh("topic"), partitions: 1, retentionMs: 0 });
      await seen(subject(), "the topic", () => others.has("assignment"));
      endOther();
      assert.deepEqual([...hints], []);
    });
  });
}
