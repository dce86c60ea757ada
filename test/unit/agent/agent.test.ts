import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createTopic, fetchValues, sendAndWait, startAgent } from "./bench-agent.ts";

describe("an agent", () => {
  it("gives contiguous offsets and serves what it acknowledged", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "orders");
    assert.equal(await sendAndWait(bench, "orders", ["a", "b"]), 0);
    assert.equal(await sendAndWait(bench, "orders", ["c"]), 2);
    assert.deepEqual(await fetchValues(bench, topicId), [
      [0, "a"],
      [1, "b"],
      [2, "c"],
    ]);
    await bench.clock.until(bench.agent.stop());
    assert.equal(bench.clock.pending, 0);
  });
});
