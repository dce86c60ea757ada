/**
 * Three agents under kills, stops, cuts, deaf ears, moves, merges and retention, and consumers of every kind over them: from the holder,
 * from any agent, and one that goes to another agent with every request. One seed drives everything. Each consumer must be given the
 * log that was acknowledged: in order, nothing twice, nothing left out but what lies below a log start that metadata has.
 */
import assert from "node:assert/strict";
import { decodeBatch, plainRecord } from "../../src/format/batch-decoder.ts";
import type { Producer } from "../../src/producer/producer.ts";
import { fromErrorDetail } from "../../src/rpc/status.ts";
import { createTopic } from "../unit/agent/bench-agent.ts";
import { Chooser } from "./chooser.ts";
import { Fleet, type Member } from "./fleet.ts";
import { Acknowledged, Reading } from "./reader-model.ts";

const STEPS = 120;
const PARTITIONS = 2;
const AGENTS = 3;

const settings = {
  ...{ merge: true, mergeAgeMs: 1_500, mergeCheckMs: 700, deleteGraceMs: 2_000 },
  ...{ retentionCheckMs: 900, readCacheBytesMax: 4_000, tailCacheBytesMax: 3_000 },
};

/** How far the wanderer is in one partition, and what it was given. */
interface Place {
  next: number;
  readonly values: string[];
}

export class ReadSimulation {
  readonly trace: string[] = [];
  readonly #choose: Chooser;
  readonly #fleet = new Fleet();
  readonly #acknowledged = new Acknowledged();
  readonly #sending = new Set<Promise<void>>();
  readonly #readings: Reading[] = [];
  /** The one that goes to another agent with every request: next offsets and values. */
  readonly #wanderer = Array.from({ length: PARTITIONS }, (): Place => ({ next: 0, values: [] }));
  #producer: Producer | undefined;
  #topicId = "";
  #sent = 0;

  constructor(seed: number) {
    this.#choose = new Chooser(seed);
  }

  async run(): Promise<void> {
    for (let i = 0; i < AGENTS; i++) await this.#startAgent(`agent-${i}`);
    this.#topicId = await createTopic(this.#any(), "t", {
      ...{ partitions: PARTITIONS, retentionMs: 15_000 },
    });
    await this.#fleet.clock.run(4_000);
    this.#producer = this.#fleet.producer({ lingerMs: 0, batchBytes: 400 });
    const logStart = (partition: number) => this.#logStart(partition);
    for (const [i, readFrom] of (["holder", "any", "any"] as const).entries()) {
      const name = `${readFrom}-${i}`;
      const consumer = { readFrom, prefetchBytes: 2_000, maxPollRecords: 50 };
      this.#readings.push(
        new Reading(this.#fleet, { name, partitions: PARTITIONS, seed: i + 7, logStart, consumer }),
      );
    }
    for (let i = 0; i < STEPS; i++) await this.#step();
    await this.#finish();
  }

  #any(): Member {
    const members = [...this.#fleet.members.values()];
    return members[this.#choose.below(members.length)] as Member;
  }

  async #startAgent(name: string): Promise<void> {
    this.trace.push(`start ${name}`);
    await this.#fleet.start(name, { agent: settings });
  }

  async #step(): Promise<void> {
    const choice = this.#choose.below(100);
    if (choice < 35) this.#produce();
    else if (choice < 50) await this.#poll();
    else if (choice < 65) await this.#wander(3);
    else if (choice < 78) await this.#run(this.#choose.below(1_500));
    else if (choice < 82) await this.#run(this.#choose.below(6_000));
    else if (choice < 85) this.#deafen();
    else if (choice < 89) this.#cut();
    else if (choice < 93) this.#hang();
    else if (choice < 96) await this.#leave();
    else await this.#kill();
  }

  async #run(ms: number): Promise<void> {
    await this.#fleet.clock.run(ms);
  }

  #produce(): void {
    for (let i = 1 + this.#choose.below(8); i > 0; i--) {
      const partition = this.#choose.below(PARTITIONS);
      const value = `v${this.#sent++}`.padEnd(10 + this.#choose.below(120), ".");
      const sending = (this.#producer as Producer).send({ topic: "t", partition, value }).then(
        ({ offset }) => this.#acknowledged.add(partition, offset ?? -1, value),
        // Not acknowledged in time: it may be there or not, and nobody was told.
        () => {},
      );
      this.#sending.add(sending);
      void sending.finally(() => this.#sending.delete(sending));
    }
  }

  async #poll(): Promise<void> {
    const reading = this.#readings[this.#choose.below(this.#readings.length)] as Reading;
    const count = await reading.poll(50 + this.#choose.below(800));
    this.trace.push(`${reading.name} read ${count}`);
  }

  #deafen(): void {
    const member = this.#any();
    member.faults.deaf = !member.faults.deaf;
    this.trace.push(`${member.name} ${member.faults.deaf ? "deaf" : "hears"}`);
  }

  #cut(): void {
    const member = this.#any();
    member.faults.down = !member.faults.down;
    this.trace.push(`${member.name} ${member.faults.down ? "cut" : "joined"}`);
  }

  #hang(): void {
    const member = this.#any();
    if (member.pause.paused) member.pause.wake();
    else member.pause.paused = true;
    this.trace.push(`${member.name} ${member.pause.paused ? "stopped" : "woken"}`);
  }

  /** Goes as it should: its partitions move. */
  async #leave(): Promise<void> {
    const member = this.#any();
    if (member.pause.paused || member.faults.down) return;
    this.trace.push(`${member.name} leaves`);
    await this.#fleet.clock.until(member.agent.stop());
    this.#fleet.kill(member);
    await this.#startAgent(member.name);
  }

  async #kill(): Promise<void> {
    const member = this.#any();
    this.trace.push(`kill ${member.name}`);
    this.#fleet.kill(member);
    await this.#startAgent(member.name);
  }

  async #logStart(partition: number): Promise<number> {
    const asked = [{ topicId: this.#topicId, partition }];
    const [bounds] = await this.#fleet.metadata.partitionBounds(asked);
    return bounds?.logStartOffset ?? 0;
  }

  /** Each request at an agent of chance: it obeys answers only. */
  async #wander(requests: number): Promise<void> {
    for (let i = 0; i < requests; i++) {
      const partition = this.#choose.below(PARTITIONS);
      await this.#ask(this.#any(), partition);
    }
  }

  async #ask(member: Member, partition: number): Promise<void> {
    const place = this.#wanderer[partition] as Place;
    const connection = this.#fleet.transport([member.name]).connection(member.name);
    const topicId = this.#topicId;
    const asking = connection.api.fetch(
      {
        partitions: [{ topicId, partition, offset: place.next, maxBytes: 700 }],
        ...{
          maxWaitMs: this.#choose.below(2) * 200,
          minBytes: 1,
          maxBytes: 0,
          group: "",
          memberId: "",
        },
        memberEpoch: 0,
      },
      { timeoutMs: 3_000 },
    );
    const answer = await this.#fleet.clock.until(asking.catch(() => undefined));
    const [data] = answer?.partitions ?? [];
    if (data === undefined) return;
    if (data.error !== undefined) {
      const error = fromErrorDetail(data.error);
      this.trace.push(`${member.name} answered ${error.code} for ${partition}@${place.next}`);
      if (error.code !== "OFFSET_OUT_OF_RANGE") {
        assert.ok(error.retriable, `${error.code}: ${error.message}`);
        return;
      }
      const start = await this.#logStart(partition);
      assert.ok(place.next < start, `out of range at ${place.next}, log start ${start}`);
      assert.ok(data.logStartOffset <= start);
      place.next = start;
      return;
    }
    for (const { records } of data.batches) {
      for (const it of await decodeBatch(records, plainRecord, { fromOffset: place.next })) {
        assert.equal(it.offset, place.next, "no gap, no repetition");
        place.values[it.offset] = new TextDecoder().decode(it.value ?? new Uint8Array(0));
        place.next = it.offset + 1;
      }
    }
  }

  async #finish(): Promise<void> {
    for (const { faults, pause } of this.#fleet.members.values()) {
      faults.down = false;
      faults.deaf = false;
      faults.release();
      pause.wake();
    }
    this.trace.push("heal");
    for (let i = 0; i < 400 && this.#sending.size > 0; i++) await this.#run(500);
    assert.equal(this.#sending.size, 0, "every send has an end");
    for (const reading of this.#readings) {
      for (let i = 0; i < 400 && this.#isBehind(reading.next); i++) await reading.poll(300);
      assert.ok(!this.#isBehind(reading.next), `${reading.name} came to the end`);
      reading.compare(this.#acknowledged);
      await reading.close();
    }
    const next = () => this.#wanderer.map((it) => it.next);
    for (let i = 0; i < 2_000 && this.#isBehind(next()); i++) await this.#wander(2);
    assert.ok(!this.#isBehind(next()), "the wanderer came to the end");
    for (const [partition, { values }] of this.#wanderer.entries()) {
      for (const [offset, value] of this.#acknowledged.of(partition)) {
        if (values[offset] !== undefined) assert.equal(values[offset], value);
      }
    }
    await this.#fleet.clock.until((this.#producer as Producer).close());
    await this.#fleet.stop();
  }

  #isBehind(next: readonly number[]): boolean {
    return next.some((offset, partition) => offset < this.#acknowledged.end(partition));
  }
}
