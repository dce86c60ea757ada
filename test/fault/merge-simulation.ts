/**
 * Several agents that merge, retain, delete and sweep while producers write, readers read and everything fails: one seed drives it all.
 * At every step each object that metadata refers to must be there; whoever reads gets what was acknowledged; an index that lived
 * through it equals one that is read afresh; in the end no object is left that nobody needs. Used by `merging.test.ts`.
 */
import assert from "node:assert/strict";
import { LogIndex } from "../../src/agent/log-index.ts";
import type { PartitionLog } from "../../src/agent/partition-log.ts";
import { SegmentReferences } from "../../src/agent/segment-references.ts";
import type { StreamHouseError } from "../../src/core/errors.ts";
import type { Topic } from "../../src/core/topic.ts";
import { parseMergedSegmentKey } from "../../src/format/keys.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import type { Producer } from "../../src/producer/producer.ts";
import { createTopic, failureOf, fetchValues } from "../unit/agent/bench-agent.ts";
import { Chooser } from "./chooser.ts";
import type { Fate } from "./faulty-metadata.ts";
import { Fleet, type Member } from "./fleet.ts";

const STEPS = 140;
const NAMES = ["a", "b", "c"];
/** `keep` keeps for ever, `brief` for a short time. */
const PARTITIONS: Readonly<Record<"keep" | "brief", number>> = { keep: 3, brief: 1 };
type TopicName = keyof typeof PARTITIONS;

const AGENT = {
  ...{ flushBytes: 300, flushTimeLimitMs: 3_000, leaseTtlMs: 3_000, leaseRenewMs: 500 },
  ...{ merge: true, mergeAgeMs: 3_000, mergeCheckMs: 700, mergeBytes: 1_500 },
  ...{ mergeMemoryBytesMax: 2_000, mergeSharesMax: 12 },
  ...{ deleteGraceMs: 4_000, retentionCheckMs: 900, sweepCheckMs: 5_000, orphanAgeMs: 1_000 },
  tailCacheBytesMax: 2_000,
};

interface Sent {
  readonly topic: TopicName;
  readonly partition: number;
  readonly value: string;
  offset: number | undefined;
  error: StreamHouseError | undefined;
}

export class MergeSimulation {
  readonly trace: string[] = [];
  readonly #fleet: Fleet = new Fleet();
  readonly #choose: Chooser;
  readonly #sent: Sent[] = [];
  /** Values by topic, partition and offset, as they were acknowledged or read: neither may ever change. */
  readonly #known = new Map<string, string>();
  readonly #topics = new Map<TopicName, Topic>();
  readonly #observers: LogIndex[];
  #producer: Producer | undefined;
  /** What happens to the next PUTs and deletes of any agent. */
  readonly #storeFates: ("ok" | "fail" | "applied")[] = [];
  merges = 0;

  constructor(seed: number) {
    this.#choose = new Chooser(seed);
    this.#observers = [indexOf(this.#fleet.metadata), indexOf(this.#fleet.metadata)];
    this.#breakStore();
  }

  async run(): Promise<void> {
    for (const name of NAMES) await this.#start(name);
    const first = this.#fleet.member("a");
    await createTopic(first, "keep", { partitions: PARTITIONS.keep });
    await createTopic(first, "brief", { partitions: PARTITIONS.brief, retentionMs: 8_000 });
    for (const topic of await this.#fleet.metadata.listTopics()) {
      this.#topics.set(topic.name as TopicName, topic);
    }
    await this.#fleet.clock.run(4_000);
    this.#producer = this.#fleet.producer({
      ...{ lingerMs: 2, batchBytes: 200, requestTimeoutMs: 4_000 },
      ...{ deliveryTimeoutMs: 60_000, retryBackoffMs: 20 },
    });
    for (let i = 0; i < STEPS; i++) {
      await this.#step();
      await this.#checkReferences();
    }
    await this.#finish();
  }

  #anyone(which: (member: Member) => boolean = () => true): Member | undefined {
    return this.#choose.anyone(this.#fleet.members.values(), which);
  }

  #topicOf(name: TopicName): Topic {
    return this.#topics.get(name) as Topic;
  }

  #note(what: string): void {
    this.trace.push(`${Math.round(this.#fleet.clock.monotonic())} ${what}`);
  }

  async #start(name: string): Promise<void> {
    await this.#fleet.start(name, { agent: AGENT });
  }

  async #step(): Promise<void> {
    const choice = this.#choose.below(100);
    if (choice < 30) this.#send();
    else if (choice < 45) await this.#fleet.clock.run(this.#choose.below(100));
    else if (choice < 58) await this.#fleet.clock.run(this.#choose.below(4_000));
    else if (choice < 68) await this.#read();
    else if (choice < 73) await this.#choose.pick(this.#observers).refresh();
    else if (choice < 84) this.#breakMetadata();
    else if (choice < 89) this.#storeFates.push(this.#choose.pick(["fail", "applied", "ok"]));
    else if (choice < 93) this.#release();
    else if (choice < 96) this.#stopOrWake();
    else if (choice < 98) await this.#kill();
    else await this.#restart();
  }

  #send(): void {
    for (let i = 1 + this.#choose.below(12); i > 0; i--) {
      const topic = this.#choose.below(4) === 0 ? "brief" : "keep";
      const partition = this.#choose.below(PARTITIONS[topic]);
      const value = `${this.#sent.length}:${"x".repeat(this.#choose.below(40))}`;
      const sent: Sent = { topic, partition, value, offset: undefined, error: undefined };
      this.#sent.push(sent);
      this.#producer?.send({ topic, partition, value }).then(
        ({ offset }) => {
          sent.offset = offset;
          this.#learn(topic, partition, offset ?? -1, value);
        },
        (error: StreamHouseError) => {
          sent.error = error;
        },
      );
    }
  }

  #learn(topic: TopicName, partition: number, offset: number, value: string): void {
    const key = `${topic}/${partition}@${offset}`;
    assert.equal(value, this.#known.get(key) ?? value, key);
    this.#known.set(key, value);
  }

  /** From any agent, any offset; all that may go wrong is that it is told so. */
  async #read(): Promise<void> {
    const member = this.#anyone((it) => !it.pause.paused);
    const topic = this.#choose.pick<TopicName>(["keep", "keep", "brief"]);
    const partition = this.#choose.below(PARTITIONS[topic]);
    const { id } = this.#topicOf(topic);
    const at = { topicId: id, partition };
    if (member === undefined) return;
    const [before] = await this.#fleet.metadata.partitionBounds([at]);
    const offset = this.#choose.below((before?.nextOffset ?? 0) + 1);
    const fetching = fetchValues(member, id, offset, { partition });
    fetching.catch(() => {});
    try {
      const values = await this.#fleet.clock.until(fetching, 30_000);
      for (const [found, value] of values) this.#learn(topic, partition, found, value);
    } catch (error) {
      const [after] = await this.#fleet.metadata.partitionBounds([at]);
      const failure = await failureOf(Promise.reject(error));
      this.#note(`read ${topic}/${partition}@${offset} by ${member.name}: ${failure.code}`);
      if (failure.code === "OFFSET_OUT_OF_RANGE") {
        assert.ok(offset < (after?.logStartOffset ?? 0), "only below the log start");
      } else assert.equal(failure.kind, "unavailable", `${failure.code}: ${failure.message}`);
    }
  }

  #breakMetadata(): void {
    const member = this.#anyone();
    const changes = ["commitMerge", "commitMerge", "commitMerge", "commitFlush"] as const;
    const upkeep = ["dropDeadFlushes", "dropDeadMerges", "forgetDoomed", "sweepKeys"] as const;
    const reads = ["listMerges", "listFlushes", "listDoomed", "partitionBounds"] as const;
    const method = this.#choose.pick([
      ...changes,
      ...upkeep,
      ...upkeep,
      ...reads,
      "advanceLogStart",
    ] as const);
    const isRead = reads.some((it) => it === method);
    const fates: readonly Fate[] = isRead
      ? ["none", "hold"]
      : ["none", "applied", "applied", "lost", "hold", "late"];
    const fate = this.#choose.pick(fates);
    this.#note(`${member?.name}: next ${method} ${fate}`);
    const next = member?.faults.next;
    if (next !== undefined) next[method] = [...(next[method] ?? []), fate];
  }

  #breakStore(): void {
    const { store } = this.#fleet;
    const [put, remove] = [store.put.bind(store), store.delete.bind(store)];
    store.put = (key, parts) => this.#fated(() => put(key, parts));
    store.delete = (keys) => this.#fated(() => remove(keys));
  }

  async #fated(work: () => Promise<void>): Promise<void> {
    const fate = this.#storeFates.shift() ?? "ok";
    if (fate !== "fail") await work();
    // Nobody in between sees a difference: what was done, and what was not, may be told as a failure.
    if (fate !== "ok") await this.#fleet.store.get("no such object");
  }

  #release(): void {
    const member = this.#anyone();
    this.#note(`${member?.name}: release`);
    member?.faults.release();
  }

  #stopOrWake(): void {
    const member = this.#anyone();
    if (member === undefined) return;
    this.#note(`${member.name}: ${member.pause.paused ? "SIGCONT" : "SIGSTOP"}`);
    if (member.pause.paused) member.pause.wake();
    else member.pause.paused = true;
  }

  async #kill(): Promise<void> {
    const member = this.#anyone();
    if (member === undefined) return;
    this.#note(`${member.name}: kill -9`);
    this.#fleet.kill(member);
    if (this.#choose.below(2) === 0) await this.#fleet.clock.run(this.#choose.below(4_000));
    await this.#start(member.name);
  }

  async #restart(): Promise<void> {
    const member = this.#anyone((it) => !it.pause.paused && !it.faults.down);
    if (member === undefined) return;
    this.#note(`${member.name}: drain, stop, start`);
    member.faults.release();
    await this.#fleet.clock.until(member.agent.stop());
    this.#fleet.kill(member);
    await this.#start(member.name);
  }

  /** Objects that metadata refers to. */
  async #referred(): Promise<ReadonlySet<string>> {
    const { metadata } = this.#fleet;
    const flushes = await metadata.listFlushes(0, 100_000);
    const merges = await metadata.listMerges(0, 100_000);
    return new Set([...flushes, ...merges].map((it) => it.location.key));
  }

  async #checkReferences(): Promise<void> {
    for (const key of await this.#referred()) {
      assert.ok(this.#fleet.store.objects.has(key), `${key} is referred to and not there`);
    }
  }

  async #finish(): Promise<void> {
    const { clock, members } = this.#fleet;
    this.#note("finish");
    this.#storeFates.length = 0;
    const pending = () => this.#producer?.pending ?? 0;
    for (let i = 0; i < 1_000 && (i < 50 || pending() > 0); i++) {
      for (const { faults, pause, sink } of members.values()) {
        faults.down = false;
        for (const fates of Object.values(faults.next)) fates.length = 0;
        pause.wake();
        sink.release();
        faults.release();
      }
      await clock.run(100);
    }
    assert.equal(pending(), 0, "everything is settled in the end");
    // Long enough for `brief` to expire (pieces are kept for up to a minute longer), and for all that is dead to be deleted and swept.
    await clock.run(150_000);
    await this.#checkReferences();
    await this.#compareLogs();
    await this.#compareIndexes();
    await this.#compareObjects();
    this.merges = (await this.#fleet.metadata.listMerges(0, 100_000)).length;
    await clock.until(this.#producer?.close() ?? Promise.resolve());
    await this.#fleet.stop();
  }

  /** Every agent serves the whole log from its start, and what was acknowledged is there. */
  async #compareLogs(): Promise<void> {
    for (const [name, { id, partitions }] of this.#topics) {
      for (let partition = 0; partition < partitions; partition++) {
        const [bounds] = await this.#fleet.metadata.partitionBounds([{ topicId: id, partition }]);
        assert.ok(bounds !== undefined);
        if (name === "keep") assert.equal(bounds.logStartOffset, 0);
        for (const member of this.#fleet.members.values()) {
          let next: number = bounds.logStartOffset;
          while (next < bounds.nextOffset) {
            const page = await this.#fleet.clock.until(
              fetchValues(member, id, next, { partition }),
            );
            assert.ok(page.length > 0, `${name}/${partition} goes on at ${next}`);
            for (const [offset, value] of page) {
              assert.equal(offset, next, "contiguous");
              this.#learn(name, partition, offset, value);
              next++;
            }
          }
        }
      }
    }
    for (const { topic, partition, value, offset, error } of this.#sent) {
      if (offset === undefined) assert.ok(error !== undefined, `${value} is settled`);
      else assert.equal(this.#known.get(`${topic}/${partition}@${offset}`), value);
    }
  }

  async #compareIndexes(): Promise<void> {
    const fresh = indexOf(this.#fleet.metadata);
    const all = [...this.#topics.values()].flatMap(({ id, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => ({ topicId: id, partition })),
    );
    for (const index of [fresh, ...this.#observers]) {
      await index.refresh();
      await index.refreshBounds(all);
    }
    for (const { topicId, partition } of all) {
      const expected = contentOf(fresh.get(topicId, partition));
      for (const index of this.#observers) {
        assert.deepEqual(contentOf(index.get(topicId, partition)), expected);
      }
    }
  }

  /** What nobody refers to is gone, but for the newest object of each agent, which might be a file that goes on growing. */
  async #compareObjects(): Promise<void> {
    const referred = await this.#referred();
    const runs = [...this.#fleet.members.values()].map((it) => it.agent.runId);
    const left = [...this.#fleet.store.objects.keys()].filter((key) => !referred.has(key));
    const merged = left.filter((key) => parseMergedSegmentKey("", key) !== undefined);
    assert.deepEqual(merged, [], "no merged segment is left over");
    for (const key of left) {
      assert.ok(
        runs.some((runId) => key.includes(runId)),
        `${key} is nobody's`,
      );
    }
    assert.ok(left.length <= runs.length, left.join());
  }
}

function indexOf(metadata: MetadataStore): LogIndex {
  return new LogIndex({ metadata, segments: new SegmentReferences() });
}

/** All that a log answers. */
function contentOf(log: PartitionLog | undefined) {
  if (log === undefined) return undefined;
  const shares = Array.from({ length: log.size }, (_, i) => log.share(i));
  return {
    ...{ shares, highWatermark: log.highWatermark, logStart: log.logStart },
    mergeFrom: Math.max(log.logStart, log.mergedUntil),
    lag: shares.map((it) => log.oldestAppendFrom(it?.baseOffset ?? 0)),
    since: shares.map((it) => log.offsetAppendedSince(it?.appendTimeMs ?? 0)),
    byTime: shares.map((it) => log.findTime(it?.appendTimeMs ?? 0)),
  };
}
