/** A commit whose answer never came, and which is found in the flush table later, is counted then: once, and not before. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import {
  createTopic,
  failureOf,
  memoryMetadata,
  send,
  sendAndWait,
  startAgent,
} from "../../unit/agent/bench-agent.ts";
import { type Fate, withFaults } from "../faulty-metadata.ts";
import { assertSound } from "./sabotage.ts";

const stamp = { producerId: 7, producerEpoch: 0, baseSequence: 0 };

/** A batch of three whose commit is answered by nobody; metadata is away until the run is over. */
async function loseAnswer(fate: Fate) {
  const clock = new ManualClock();
  const { metadata, faults } = withFaults(memoryMetadata(clock));
  const bench = await startAgent({ clock, metadata, telemetry: {} });
  const { metrics } = bench.agent.telemetry;
  const written = metrics.counter(catalogue.recordsWritten, { topic: "t" });
  const bytes = metrics.counter(catalogue.bytesWritten, { topic: "t" });
  await createTopic(bench, "t");
  faults.next.commitFlush = [fate];
  faults.next.resolveFlush = Array.from({ length: 1_000 }, () => "none" as const);
  const answer = failureOf(send(bench, "t", ["a", "b", "c"], { stamp, timeoutMs: 60_000 }));
  await clock.run(100);
  faults.down = true;
  const error = await clock.until(answer);
  assert.equal(error.outcome, "unknown");
  await clock.run(20_000);
  assert.equal(bench.agent.hasActiveLeases(), false, "the run is over");
  assert.equal(written.value, 0, "nobody knows");
  assertSound(metrics, "while the outcome is open");
  faults.down = false;
  faults.next.resolveFlush = [];
  await clock.run(20_000);
  assert.ok(bench.agent.hasActiveLeases(), "a new run has the lease");
  return { bench, metrics, written, bytes };
}

describe("a commit whose answer was lost", () => {
  it("is counted when the flush table shows it, and the producer's repetition is not", async () => {
    const { bench, metrics, written, bytes } = await loseAnswer("applied");
    assert.equal(written.value, 3);
    assert.ok(bytes.value > 0);
    assertSound(metrics, "when it was found");
    assert.equal(await sendAndWait(bench, "t", ["a", "b", "c"], { stamp }), 0);
    assert.equal(written.value, 3);
    assertSound(metrics, "after the repetition");
    await bench.clock.until(bench.agent.stop());
  });

  it("is never counted if it was not applied; what the producer sends again is", async () => {
    const { bench, metrics, written } = await loseAnswer("lost");
    assert.equal(written.value, 0);
    assert.equal(await sendAndWait(bench, "t", ["a", "b", "c"], { stamp }), 0);
    assert.equal(written.value, 3);
    assertSound(metrics, "after the repetition");
    await bench.clock.until(bench.agent.stop());
  });
});
