/** What becomes of accepted batches when the lease, the run or the topic goes away under them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Logger, silentLogger } from "../../src/core/logger.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import {
  type BenchAgent,
  createTopic,
  eventually,
  failureOf,
  memoryMetadata,
  readAll,
  send,
  sendAndWait,
  startAgent,
} from "../unit/agent/bench-agent.ts";
import { type Faults, withFaults } from "./faulty-metadata.ts";

interface Setup {
  readonly bench: BenchAgent;
  readonly faults: Faults;
  readonly inner: MetadataStore;
  readonly topicId: string;
}

async function start(partitions = 1, logger: Logger = silentLogger): Promise<Setup> {
  const clock = new ManualClock();
  const inner = memoryMetadata(clock);
  const { metadata, faults } = withFaults(inner);
  const bench = await startAgent({ clock, metadata, logger });
  return { bench, faults, inner, topicId: await createTopic(bench, "t", { partitions }) };
}

/** Another run takes a partition, as after this one's expiry. */
async function takeOver({ inner, bench, topicId }: Setup, partition: number): Promise<void> {
  const old = bench.agent.runId;
  await inner.releaseLeases(old, [{ topicId, partition }]);
  const rival = { runId: "rival", agentId: "z", address: "rival:1", ttlMs: 60_000 };
  await inner.startRun({ ...rival, predecessorsDead: false });
  const grants = await inner.acquireLeases("rival", [{ topicId, partition }]);
  assert.equal(grants.length, 1);
}

describe("a lease that another run took while a flush was being written", () => {
  it("keeps the flush out, fails its batches as fenced, and lets the other partitions through", async () => {
    const setup = await start(2);
    const { bench, topicId } = setup;
    bench.sink.fates.push("hold");
    const fenced = send(bench, "t", ["a"], { partition: 0 });
    const other = send(bench, "t", ["b"], { partition: 1 });
    await eventually(() => bench.sink.held === 1, "the flush is being written");
    await takeOver(setup, 0);
    bench.sink.release();
    const error = await failureOf(bench.clock.until(fenced));
    assert.equal(error.code, "LEASE_LOST");
    assert.equal(error.kind, "fenced");
    assert.equal(error.retriable, true);
    assert.equal(error.outcome, "none");
    assert.equal((await bench.clock.until(other)).baseOffset, 0);
    assert.deepEqual(await readAll(bench, topicId, 0), [], "nothing fenced is served");
    assert.deepEqual(await readAll(bench, topicId, 1), ["b"]);
    const next = await failureOf(send(bench, "t", ["c"], { partition: 0 }));
    assert.equal(next.code, "NOT_LEASE_HOLDER");
    await bench.clock.run(3_100);
    const later = await failureOf(send(bench, "t", ["c"], { partition: 0 }));
    assert.equal(later.holderAddress, "rival:1", "the error says who holds it");
    await bench.clock.until(bench.agent.stop());
  });
});

describe("a run that could not renew", () => {
  it("fences itself when its time to live is over, counted from before the last renewal was sent", async () => {
    const { bench, faults } = await start();
    const { clock } = bench;
    // The renewal at 3 s is answered only at 6 s: the lease runs until 13 s all the same. The one after it fails.
    faults.next.renewRun = ["hold", "none"];
    await clock.run(3_000 - clock.monotonic());
    await eventually(() => faults.held === 1, "the renewal was sent");
    const sentAt = clock.monotonic();
    await clock.run(3_000);
    faults.release();
    await clock.run(0);
    faults.down = true;
    await clock.run(sentAt + 9_999 - clock.monotonic());
    assert.equal(bench.agent.hasActiveLeases(), true);
    await clock.run(1);
    assert.equal(bench.agent.hasActiveLeases(), false);
    assert.equal((await failureOf(send(bench, "t", ["a"]))).code, "NOT_LEASE_HOLDER");
    assert.ok(bench.agent.status().metadataDownForMs > 0);
    assert.equal(bench.agent.status().phase, "standby");
    faults.down = false;
    await clock.until(bench.agent.stop());
  });

  it("says that its run is over, and that a new one has begun", async () => {
    const said: string[] = [];
    const say = (message: string) => void said.push(message);
    const { bench, faults } = await start(1, { ...silentLogger, info: say, warn: say });
    said.length = 0;
    faults.down = true;
    await bench.clock.run(11_000);
    faults.down = false;
    await bench.clock.run(4_000);
    const runs = said.filter((message) => /\brun\b/.test(message));
    assert.deepEqual(runs, ["the agent's run is over", "a new run has begun"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("fails what it had accepted as not applied, and goes on in a new run with a new epoch", async () => {
    const { bench, faults, inner, topicId } = await start();
    const before = bench.agent.runId;
    assert.equal(await sendAndWait(bench, "t", ["a"]), 0);
    faults.down = true;
    await bench.clock.run(9_000);
    bench.sink.fates.push("hold");
    const lost = send(bench, "t", ["b"]);
    await bench.clock.run(2_000);
    const error = await failureOf(lost);
    assert.equal(error.code, "LEASE_LOST");
    assert.equal(error.outcome, "none");
    faults.down = false;
    await bench.clock.run(4_000);
    assert.notEqual(bench.agent.runId, before);
    assert.equal(bench.agent.hasActiveLeases(), true);
    assert.equal(await sendAndWait(bench, "t", ["c"]), 1);
    assert.deepEqual(await readAll(bench, topicId), ["a", "c"]);
    const [lease] = await inner.listLeases();
    assert.equal(lease?.epoch, 2);
    await bench.clock.until(bench.agent.stop());
  });

  it("that was ended by somebody else begins again by itself", async () => {
    const { bench, inner, topicId } = await start();
    const before = bench.agent.runId;
    assert.equal(await sendAndWait(bench, "t", ["a"]), 0);
    await inner.endRun(before);
    await bench.clock.run(3_500);
    assert.notEqual(bench.agent.runId, before);
    assert.equal(await sendAndWait(bench, "t", ["b"]), 1);
    assert.deepEqual(await readAll(bench, topicId), ["a", "b"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("keeps its commit's answer if that was on its way already", async () => {
    const { bench, faults, topicId } = await start();
    faults.next.commitFlush = ["hold"];
    faults.next.renewRun = Array.from({ length: 10 }, () => "none" as const);
    const answer = send(bench, "t", ["a"], { timeoutMs: 60_000 });
    await eventually(() => faults.held === 1, "the commit was sent");
    await bench.clock.run(9_900 - bench.clock.monotonic());
    faults.release();
    assert.equal((await bench.clock.until(answer)).baseOffset, 0);
    await bench.clock.run(15_000);
    faults.next.renewRun = [];
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    await bench.clock.until(bench.agent.stop());
  });
});

describe("a topic deleted while a flush was being written", () => {
  it("fails its batches with TOPIC_NOT_FOUND and lets the other topics' through", async () => {
    const { bench, inner } = await start();
    const otherId = await createTopic(bench, "other");
    bench.sink.fates.push("hold");
    const gone = send(bench, "t", ["a"]);
    const kept = send(bench, "other", ["b"]);
    await eventually(() => bench.sink.held === 1, "the flush is being written");
    await inner.deleteTopic("t");
    bench.sink.release();
    const error = await failureOf(bench.clock.until(gone));
    assert.equal(error.code, "TOPIC_NOT_FOUND");
    assert.equal(error.outcome, "none");
    assert.equal((await bench.clock.until(kept)).baseOffset, 0);
    assert.deepEqual(await readAll(bench, otherId), ["b"]);
    await bench.clock.until(bench.agent.stop());
  });

  it("through this agent fails what is buffered at once, and a topic made anew under its name is another one", async () => {
    const { bench, topicId } = await start();
    await sendAndWait(bench, "t", ["old"]);
    bench.sink.fates.push("hold");
    const gone = send(bench, "t", ["a"]);
    await eventually(() => bench.sink.held === 1, "the flush is being written");
    await bench.clock.until(bench.agent.api.deleteTopic({ name: "t" }, {}));
    assert.equal((await failureOf(gone)).code, "TOPIC_NOT_FOUND");
    const newId = await createTopic(bench, "t");
    assert.notEqual(newId, topicId);
    assert.equal(await sendAndWait(bench, "t", ["new"]), 0);
    assert.deepEqual(await readAll(bench, newId), ["new"]);
    const { error } = await failureData(bench, topicId);
    assert.equal(error?.code, "TOPIC_NOT_FOUND");
    await bench.clock.until(bench.agent.stop());
  });
});

async function failureData(bench: BenchAgent, topicId: string) {
  const { partitions } = await bench.clock.until(
    bench.agent.api.fetch(
      {
        partitions: [{ topicId, partition: 0, offset: 0, maxBytes: 0 }],
        ...{ maxWaitMs: 0, minBytes: 0, maxBytes: 0, group: "", memberId: "", memberEpoch: 0 },
      },
      {},
    ),
  );
  return partitions[0] ?? { error: undefined };
}
