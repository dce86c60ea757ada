import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { withFaults } from "../../fault/faulty-metadata.ts";
import { Fleet } from "../../fault/fleet.ts";
import {
  type BenchAgent,
  createTopic,
  eventually,
  memoryMetadata,
  readAll,
  send,
  sendAndWait,
  startAgent,
} from "./bench-agent.ts";
import { MemoryStore } from "./memory-store.ts";

const HOUR = 3_600_000;
const BYTES = Uint8Array.of(1, 2, 3);
const run = "01HF7YAT00Q8KKSKF801HXQD0D";
const ORPHANS = [
  `segments/2023-01-01/${run}-000000000001.seg`,
  `segments/2023-01-01/${run}-000000000002.seg`,
  `topics/0b7c1f0e-8a54-4d5e-9b4f-1c2d3e4f5a6b/0/${"0".repeat(20)}-${"0".repeat(19)}9-${run}.seg`,
];
const FOREIGN = ["segments/readme.txt", "topics/notes.seg", "other/2023-01-01/x.seg"];

/** A store whose objects are as old as they were put. */
class DatedStore extends MemoryStore {
  readonly #clock: ManualClock;
  readonly #putAt = new Map<string, number>();
  lists = 0;

  constructor(clock: ManualClock) {
    super();
    this.#clock = clock;
  }

  override async put(key: string, parts: readonly Uint8Array[]): Promise<void> {
    this.#putAt.set(key, this.#clock.now());
    await super.put(key, parts);
  }

  override async *list(prefix: string) {
    this.lists++;
    for await (const it of super.list(prefix)) {
      yield { ...it, modifiedAtMs: this.#putAt.get(it.key) ?? this.#clock.now() };
    }
  }
}

async function fill(store: MemoryStore, keys: readonly string[]): Promise<void> {
  for (const key of keys) await store.put(key, [BYTES]);
}

const orphansDeleted = (bench: Pick<BenchAgent, "agent">) =>
  bench.agent.telemetry.metrics.counter(catalogue.objectsDeleted, { reason: "orphan" }).value;

describe("the orphan sweeper", () => {
  it("deletes what nothing refers to once it is old, and nothing that is young, referred to or somebody else's", async () => {
    const clock = new ManualClock();
    const store = new DatedStore(clock);
    await fill(store, [...ORPHANS.slice(0, 2), ...FOREIGN]);
    const agent = { sweepCheckMs: HOUR, orphanAgeMs: 24 * HOUR };
    const coarse = { retentionCheckMs: HOUR, leaseTtlMs: 300_000, leaseRenewMs: 100_000 };
    const telemetry = { families: ["semconv"] as const };
    const bench = await startAgent({ clock, store, telemetry, agent: { ...agent, ...coarse } });
    const topicId = await createTopic(bench, "t");
    await sendAndWait(bench, "t", ["a"]);
    await clock.run(12 * HOUR);
    await fill(store, ORPHANS.slice(2));
    await clock.run(11 * HOUR);
    assert.equal(store.objects.size, 7, "none is old enough");
    await clock.run(3 * HOUR);
    for (const key of ORPHANS.slice(0, 2)) assert.ok(!store.objects.has(key), key);
    for (const key of [...FOREIGN, ...ORPHANS.slice(2)]) assert.ok(store.objects.has(key), key);
    await clock.run(12 * HOUR);
    assert.equal(store.objects.has(ORPHANS[2] ?? ""), false);
    assert.deepEqual(await readAll(bench, topicId), ["a"]);
    await clock.until(bench.agent.stop());
  });

  it("is one agent's work at a time, and another's when that one is gone", async () => {
    const fleet = new Fleet();
    const agent = { sweepCheckMs: 10_000, orphanAgeMs: 1_000 };
    const [a, b] = [
      await fleet.start("a", { agent, telemetry: {} }),
      await fleet.start("b", { agent, telemetry: {} }),
    ];
    assert.ok(a !== undefined && b !== undefined);
    await fill(fleet.store, [...ORPHANS, ...FOREIGN]);
    await fleet.clock.run(25_000);
    assert.equal(fleet.store.objects.size, FOREIGN.length);
    assert.deepEqual([orphansDeleted(a), orphansDeleted(b)].sort(), [0, 3]);
    const looked = [a, b].map((it) => it.agent.telemetry.metrics.counter(catalogue.sweepObjects));
    assert.equal(looked.filter((it) => it.value > 0).length, 1, "the other one lists nothing");
    const sweeper = orphansDeleted(a) > 0 ? a : b;
    const other = sweeper === a ? b : a;
    fleet.kill(sweeper);
    await fleet.clock.run(12_000);
    await fill(fleet.store, ORPHANS);
    await fleet.clock.run(25_000);
    assert.equal(fleet.store.objects.size, FOREIGN.length);
    assert.equal(orphansDeleted(other), 3);
    await fleet.stop();
  });

  it("gives a key up before it deletes: the flush that is committed too late is written again, elsewhere", async () => {
    const clock = new ManualClock();
    const inner = memoryMetadata(clock);
    const { metadata, faults } = withFaults(inner);
    const bench = await startAgent({ clock, metadata, telemetry: {} });
    const topicId = await createTopic(bench, "t");
    faults.next.commitFlush = ["hold"];
    const sent = send(bench, "t", ["late"]);
    await eventually(() => faults.held === 1, "its commit is on its way");
    const [key] = [...bench.store.objects.keys()];
    assert.ok(key !== undefined);
    // Another agent takes it for an orphan.
    assert.deepEqual(await inner.sweepKeys([key]), [key]);
    await bench.store.delete([key]);
    faults.release();
    assert.equal((await clock.until(sent)).baseOffset, 0);
    assert.deepEqual(await readAll(bench, topicId), ["late"]);
    const [flush, ...more] = await inner.listFlushes(0, 10);
    assert.deepEqual(more, []);
    assert.notEqual(flush?.location.key, key);
    assert.ok(bench.store.objects.has(flush?.location.key ?? ""));
    await clock.until(bench.agent.stop());
  });

  it("leaves what it could not delete to its next round, and counts its failures", async () => {
    const clock = new ManualClock();
    const { metadata, faults } = withFaults(memoryMetadata(clock));
    const store = new MemoryStore();
    await fill(store, ORPHANS);
    const agent = { sweepCheckMs: 10_000, orphanAgeMs: 1_000 };
    const bench = await startAgent({ clock, metadata, store, agent, telemetry: {} });
    const remove = store.delete.bind(store);
    // Given up in metadata, and then the process cannot reach the store.
    store.delete = async () => {
      await store.get("unreachable");
    };
    await clock.run(10_500);
    const errors = bench.agent.telemetry.metrics.counter(catalogue.sweepErrors);
    assert.equal(errors.value, 1);
    assert.equal(store.objects.size, 3);
    store.delete = remove;
    faults.next.sweepKeys = ["applied"];
    await clock.run(10_000);
    assert.equal(errors.value, 2);
    assert.equal(store.objects.size, 3);
    await clock.run(20_000);
    assert.equal(store.objects.size, 0);
    assert.equal(orphansDeleted(bench), 3);
    await clock.until(bench.agent.stop());
  });
});
