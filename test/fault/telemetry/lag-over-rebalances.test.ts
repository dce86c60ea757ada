/** METRICS.md rule 1 while members come, go, die and are stopped: each lag has one exporter, and is what metadata says. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { partitionKey } from "../../../src/core/topic.ts";
import { catalogue, type InstrumentDescriptor } from "../../../src/telemetry/catalogue.ts";
import { isHistogram, type MetricRegistry } from "../../../src/telemetry/cells.ts";
import { createTopic } from "../../unit/agent/bench-agent.ts";
import { Fleet } from "../fleet.ts";
import { GroupMemberProcess } from "../group-member.ts";
import { GroupModel } from "../group-model.ts";
import { discrepancies } from "./audit-reading.ts";
import { capturingProvider } from "./sabotage.ts";

const PARTITIONS = 6;

class Play {
  readonly model: GroupModel = new GroupModel(() => this.fleet.clock.monotonic());
  readonly fleet: Fleet = new Fleet((metadata) => this.model.watched(metadata));
  readonly agents = capturingProvider();
  readonly members: GroupMemberProcess[] = [];
  topicId = "";
  #looks = 0;

  async begin(): Promise<void> {
    const { meterProvider } = this.agents;
    for (const name of ["a", "b"]) await this.fleet.start(name, { telemetry: { meterProvider } });
    this.topicId = await createTopic(this.fleet.member("a"), "t", { partitions: PARTITIONS });
    await this.fleet.clock.run(4_000);
  }

  join(workMs: () => number = () => 20): GroupMemberProcess {
    const name = `m${this.members.length}`;
    const seed = 40 + this.members.length;
    const member = new GroupMemberProcess(this.fleet, this.model, { name, seed, workMs });
    this.members.push(member);
    return member;
  }

  async send(count: number): Promise<void> {
    const producer = this.fleet.producer({ lingerMs: 0 }, { seed: 90 + this.#looks++ });
    for (let i = 0; i < count; i++) {
      void producer.send({ topic: "t", partition: i % PARTITIONS, value: `v${i}` });
    }
    await this.fleet.clock.until(producer.close());
  }

  /** What each exporter says of an instrument: by partition, or by group where it has none. */
  exported(
    descriptor: InstrumentDescriptor,
    registries: readonly MetricRegistry[],
  ): Map<string, number[]> {
    const found = new Map<string, number[]>();
    for (const family of registries.flatMap((it) => [...it.collect()])) {
      if (family.descriptor.name !== descriptor.name) continue;
      for (const { attributes, cell } of family.series.values()) {
        if (isHistogram(cell)) continue;
        const key = String(attributes.partition ?? attributes.group_id);
        found.set(key, [...(found.get(key) ?? []), cell.value]);
      }
    }
    return found;
  }

  get running(): readonly MetricRegistry[] {
    return this.members.filter((it) => it.isRunning).flatMap((it) => it.registries);
  }

  /** No lag has two exporters, and no law of the audit is broken, at any moment. */
  look(): void {
    const { running, agents } = this;
    for (const [partition, values] of this.exported(catalogue.consumerLagRecords, running)) {
      assert.equal(values.length, 1, `consumers that export the lag of ${partition}`);
    }
    for (const [partition, values] of this.exported(catalogue.groupLagRecords, agents.registries)) {
      assert.equal(values.length, 1, `agents that export the lag of ${partition}`);
    }
    for (const registry of [...running, ...agents.registries]) {
      for (const [law, off] of discrepancies(registry)) assert.equal(off, 0, law);
    }
  }

  async run(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 250) {
      await this.fleet.clock.run(250);
      this.look();
    }
  }

  /** By the log's end and what is committed, and by nothing that measures. */
  async truth(): Promise<Map<string, number>> {
    const { metadata } = this.fleet;
    const all = Array.from({ length: PARTITIONS }, (_, partition) => ({
      ...{ topicId: this.topicId, partition },
    }));
    const offsets = new Map<string, number>();
    for (const it of await metadata.fetchOffsets("g")) {
      offsets.set(partitionKey(it.topicId, it.partition), it.offset);
    }
    const lags = new Map<string, number>();
    for (const it of await metadata.partitionBounds(all)) {
      const committed = offsets.get(partitionKey(it.topicId, it.partition)) ?? 0;
      lags.set(String(it.partition), it.nextOffset - committed);
    }
    return lags;
  }

  /** Nothing moves: every series is there once, and right. */
  async compare(when: string): Promise<void> {
    const truth = await this.truth();
    const single = (all: Map<string, number[]>) =>
      new Map([...all].map(([key, values]) => [key, values[0] ?? -1]));
    const sorted = (all: Map<string, number>) => [...all].sort();
    const consumers = single(this.exported(catalogue.consumerLagRecords, this.running));
    assert.deepEqual(sorted(consumers), sorted(truth), `the consumers' lag ${when}`);
    const agents = single(this.exported(catalogue.groupLagRecords, this.agents.registries));
    assert.deepEqual(sorted(agents), sorted(truth), `the agents' lag ${when}`);
    const members = this.exported(catalogue.groupMembers, this.agents.registries).get("g");
    assert.deepEqual(members, [this.members.filter((it) => it.isRunning).length], when);
  }

  async end(): Promise<void> {
    for (const member of this.members) await member.put();
    await this.fleet.stop();
  }
}

describe("the lag of a group", () => {
  it("has one exporter for each partition and is true, while members come, go, are stopped, and die", async () => {
    const play = new Play();
    await play.begin();
    const [first, second] = [play.join(), play.join()];
    await play.send(60);
    await play.run(9_000);
    await play.compare("with two members");
    // One that does not get on: its lag stays, and is right.
    const stuck = play.join(() => 3_000);
    await play.run(12_000);
    await play.send(60);
    await play.run(9_000);
    const truth = await play.truth();
    assert.ok(
      [...truth.values()].some((it) => it > 0),
      "somebody is behind",
    );
    first.close();
    await play.run(9_000);
    second.stop();
    await play.run(9_000);
    await play.send(30);
    await play.run(3_000);
    second.wake();
    await play.run(9_000);
    const lost = play.exported(catalogue.membershipsLost, second.registries).get("g");
    assert.deepEqual(lost, [1], "one that was stopped for longer than its session");
    stuck.kill();
    await play.run(15_000);
    await play.compare("when the others have its partitions");
    second.kill();
    await play.run(15_000);
    const dead = play.exported(catalogue.groupLagRecords, play.agents.registries);
    assert.equal(dead.size, PARTITIONS, "the lag of a dead group goes on");
    play.join();
    await play.run(12_000);
    await play.compare("with one that came later");
    assert.deepEqual(play.model.broken, []);
    const rebalances = play.members.map((it) => play.exported(catalogue.rebalances, it.registries));
    assert.ok(
      rebalances.every((it) => (it.get("g")?.[0] ?? 0) > 0),
      "each was rebalanced",
    );
    await play.end();
  });
});
