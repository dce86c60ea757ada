/** Metadata as plain maps: the contract in its simplest form, for tests of the agent that must not depend on a database. */
import type { Clock } from "../../../src/core/clock.ts";
import { invalid, StreamHouseError } from "../../../src/core/errors.ts";
import { createUuid } from "../../../src/core/ids.ts";
import { partitionKey, type Topic, type TopicPartition } from "../../../src/core/topic.ts";
import type {
  AgentRun,
  CommittedFlush,
  FlushCommit,
  FlushOutcome,
  GroupMemberState,
  HeartbeatInput,
  LagRow,
  Lease,
  LeaseGrant,
  MetadataStore,
  OffsetCommitInput,
  StoredOffset,
} from "../../../src/metadata/metadata-store.ts";

interface Row {
  nextOffset: number;
  logStartOffset: number;
  runId: string;
  epoch: number;
  producerState: Uint8Array | null;
}

interface Group {
  epoch: number;
  members: Map<string, GroupMemberState & { topics: readonly string[] }>;
  offsets: Map<string, StoredOffset>;
}

const notFound = () => invalid("TOPIC_NOT_FOUND", "no such topic");

export class MemoryMetadata implements MetadataStore {
  readonly kind = "memory";
  readonly #clock: Clock;
  readonly #topics = new Map<string, Topic>();
  readonly #rows = new Map<string, Row>();
  readonly #runs = new Map<string, AgentRun>();
  readonly #groups = new Map<string, Group>();
  readonly #epochs = new Map<number, number>();
  #flushes: CommittedFlush[] = [];
  #flushId = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async createTopic(spec: Pick<Topic, "name" | "partitions" | "retentionMs">): Promise<Topic> {
    if (this.#byName(spec.name)) throw invalid("TOPIC_EXISTS", `topic ${spec.name} exists`);
    const topic = { ...spec, id: createUuid(), createdAtMs: this.#clock.now() };
    this.#put(topic);
    return topic;
  }

  async alterTopic(
    name: string,
    change: { readonly partitions?: number | undefined; readonly retentionMs?: number | undefined },
  ): Promise<Topic> {
    const topic = this.#byName(name);
    if (topic === undefined) throw notFound();
    const partitions = change.partitions ?? topic.partitions;
    const after = { ...topic, partitions, retentionMs: change.retentionMs ?? topic.retentionMs };
    this.#put(after);
    return after;
  }

  async deleteTopic(name: string): Promise<Topic> {
    const topic = this.#byName(name);
    if (topic === undefined) throw notFound();
    this.#topics.delete(topic.id);
    for (const key of this.#rows.keys()) if (key.startsWith(topic.id)) this.#rows.delete(key);
    return topic;
  }

  async listTopics(): Promise<readonly Topic[]> {
    return [...this.#topics.values()];
  }

  async startRun(run: Parameters<MetadataStore["startRun"]>[0]): Promise<AgentRun> {
    if (run.predecessorsDead) this.#runs.clear();
    const now = this.#clock.now();
    const { runId, agentId, address } = run;
    const row = { runId, agentId, address, startedAtMs: now, expiresAtMs: now + run.ttlMs };
    this.#runs.set(runId, row);
    return row;
  }

  async renewRun(runId: string, ttlMs: number): Promise<boolean> {
    const run = this.#runs.get(runId);
    if (run === undefined) return false;
    this.#runs.set(runId, { ...run, expiresAtMs: this.#clock.now() + ttlMs });
    return true;
  }

  async endRun(runId: string): Promise<void> {
    this.#runs.delete(runId);
  }

  async listRuns(): Promise<readonly AgentRun[]> {
    return [...this.#runs.values()];
  }

  async acquireLeases(
    runId: string,
    partitions: readonly TopicPartition[],
  ): Promise<readonly LeaseGrant[]> {
    const grants: LeaseGrant[] = [];
    for (const { topicId, partition } of partitions) {
      const row = this.#rows.get(partitionKey(topicId, partition));
      if (row === undefined || !this.#live(runId)) continue;
      if (row.runId !== runId && this.#live(row.runId)) continue;
      if (row.runId !== runId) row.epoch++;
      if (row.runId !== runId) this.#runs.delete(row.runId);
      row.runId = runId;
      grants.push({ topicId, partition, ...row });
    }
    return grants;
  }

  async releaseLeases(runId: string, partitions: readonly TopicPartition[]): Promise<void> {
    for (const it of partitions) {
      const row = this.#rows.get(partitionKey(it.topicId, it.partition));
      if (row?.runId === runId) row.runId = "";
    }
  }

  async listLeases(): Promise<readonly Lease[]> {
    return [...this.#rows].flatMap(([key, { runId, epoch }]) =>
      runId === "" ? [] : [{ ...parse(key), runId, epoch }],
    );
  }

  async commitFlush(flush: FlushCommit): Promise<FlushOutcome> {
    const refused: (TopicPartition & { reason: "fenced" | "deleted" })[] = [];
    for (const { topicId, partition, epoch, baseOffset } of flush.entries) {
      const row = this.#rows.get(partitionKey(topicId, partition));
      if (row === undefined) refused.push({ topicId, partition, reason: "deleted" });
      else if (row.runId !== flush.runId || row.epoch !== epoch || !this.#live(flush.runId)) {
        refused.push({ topicId, partition, reason: "fenced" });
      } else if (row.nextOffset !== baseOffset) {
        throw new StreamHouseError({
          code: "INTERNAL",
          kind: "internal",
          message: `base offset ${baseOffset}, expected ${row.nextOffset}`,
        });
      }
    }
    if (refused.length > 0) return { status: "refused", partitions: refused };
    for (const { topicId, partition, baseOffset, recordCount } of flush.entries) {
      const row = this.#rows.get(partitionKey(topicId, partition)) as Row;
      row.nextOffset = baseOffset + recordCount;
    }
    for (const { topicId, partition, state } of flush.producerStates) {
      (this.#rows.get(partitionKey(topicId, partition)) as Row).producerState = state;
    }
    const { runId, flushSequence, location, entries } = flush;
    this.#flushes.push({ flushId: ++this.#flushId, runId, flushSequence, location, entries });
    return { status: "committed" };
  }

  async resolveFlush(flush: FlushCommit): Promise<"committed" | "absent"> {
    const found = this.#flushes.some(
      (it) => it.runId === flush.runId && it.flushSequence === flush.flushSequence,
    );
    return found ? "committed" : "absent";
  }

  async listFlushes(afterFlushId: number, limit: number): Promise<readonly CommittedFlush[]> {
    return this.#flushes.filter((it) => it.flushId > afterFlushId).slice(0, limit);
  }

  async partitionBounds(partitions: readonly TopicPartition[]) {
    return partitions.flatMap(({ topicId, partition }) => {
      const row = this.#rows.get(partitionKey(topicId, partition));
      if (row === undefined) return [];
      const { nextOffset, logStartOffset } = row;
      return [{ topicId, partition, nextOffset, logStartOffset }];
    });
  }

  async advanceLogStart(
    bounds: readonly (TopicPartition & { readonly logStartOffset: number })[],
  ): Promise<void> {
    for (const { topicId, partition, logStartOffset } of bounds) {
      const row = this.#rows.get(partitionKey(topicId, partition));
      if (row === undefined) continue;
      const start = Math.min(logStartOffset, row.nextOffset);
      row.logStartOffset = Math.max(row.logStartOffset, start);
    }
  }

  async dropDeadFlushes(limit: number): Promise<readonly CommittedFlush[]> {
    const dead = this.#flushes
      .filter((flush) =>
        flush.entries.every((it) => {
          const row = this.#rows.get(partitionKey(it.topicId, it.partition));
          return row === undefined || it.baseOffset + it.recordCount <= row.logStartOffset;
        }),
      )
      .slice(0, limit);
    this.#flushes = this.#flushes.filter((it) => !dead.includes(it));
    return dead;
  }

  async allocateProducerId() {
    const producerId = this.#epochs.size + 1;
    this.#epochs.set(producerId, 0);
    return { producerId, producerEpoch: 0 };
  }

  async bumpProducerEpoch(producerId: number, producerEpoch: number) {
    const epoch = this.#epochs.get(producerId);
    if (epoch === undefined) throw invalid("UNKNOWN_PRODUCER", "no such producer");
    if (epoch !== producerEpoch) throw invalid("PRODUCER_FENCED", "older epoch");
    this.#epochs.set(producerId, epoch + 1);
    return { producerId, producerEpoch: epoch + 1 };
  }

  async heartbeat(input: HeartbeatInput) {
    const group = this.#group(input.group);
    if (input.memberEpoch > 0 && !group.members.has(input.memberId)) {
      throw invalid("UNKNOWN_MEMBER", "join again");
    }
    if (!group.members.has(input.memberId)) group.epoch++;
    const assigned = input.topics.flatMap((name) => {
      const topic = this.#byName(name);
      return Array.from({ length: topic?.partitions ?? 0 }, (_, partition) => ({
        topicId: topic?.id ?? "",
        topic: name,
        partition,
      }));
    });
    const { memberId, clientId, topics } = input;
    group.members.set(memberId, { memberId, clientId, topics, memberEpoch: group.epoch, assigned });
    return { memberEpoch: group.epoch, assigned };
  }

  async leaveGroup(group: string, memberId: string): Promise<void> {
    this.#group(group).members.delete(memberId);
  }

  async commitOffsets(
    name: string,
    member: { readonly memberId: string },
    offsets: readonly OffsetCommitInput[],
  ): Promise<void> {
    const group = this.#group(name);
    if (member.memberId !== "" && !group.members.has(member.memberId)) {
      throw invalid("UNKNOWN_MEMBER", "join again");
    }
    for (const it of offsets) {
      const key = partitionKey(it.topicId, it.partition);
      group.offsets.set(key, { ...it, committedAtMs: this.#clock.now() });
    }
  }

  async fetchOffsets(name: string, partitions?: readonly TopicPartition[]) {
    const { offsets } = this.#group(name);
    if (partitions === undefined) return [...offsets.values()];
    return partitions.flatMap((it) => offsets.get(partitionKey(it.topicId, it.partition)) ?? []);
  }

  async listGroups() {
    return [...this.#groups].map(([group, it]) => ({
      group,
      members: it.members.size,
      groupEpoch: it.epoch,
    }));
  }

  async describeGroup(group: string) {
    const it = this.#groups.get(group);
    return it && { group, groupEpoch: it.epoch, members: [...it.members.values()] };
  }

  async lagSnapshot(only?: string) {
    const rows: LagRow[] = [];
    for (const [group, { offsets }] of this.#groups) {
      if (only !== undefined && group !== only) continue;
      for (const it of offsets.values()) {
        const topic = this.#topics.get(it.topicId);
        const row = this.#rows.get(partitionKey(it.topicId, it.partition));
        if (topic === undefined || row === undefined) continue;
        const { topicId, partition, offset: committedOffset, committedAtMs } = it;
        const { nextOffset, logStartOffset } = row;
        const bounds = { nextOffset, logStartOffset, committedOffset, committedAtMs };
        rows.push({ group, topic: topic.name, topicId, partition, ...bounds });
      }
    }
    return { asOfMs: this.#clock.now(), rows };
  }

  async close(): Promise<void> {}

  #group(name: string): Group {
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = { epoch: 0, members: new Map(), offsets: new Map() };
      this.#groups.set(name, group);
    }
    return group;
  }

  #byName(name: string): Topic | undefined {
    return [...this.#topics.values()].find((it) => it.name === name);
  }

  #put(topic: Topic): void {
    this.#topics.set(topic.id, topic);
    for (let i = 0; i < topic.partitions; i++) {
      const key = partitionKey(topic.id, i);
      if (this.#rows.has(key)) continue;
      this.#rows.set(key, {
        nextOffset: 0,
        logStartOffset: 0,
        runId: "",
        epoch: 0,
        producerState: null,
      });
    }
  }

  #live(runId: string): boolean {
    const run = this.#runs.get(runId);
    return run !== undefined && run.expiresAtMs > this.#clock.now();
  }
}

function parse(key: string): TopicPartition {
  const at = key.indexOf("/");
  return { topicId: key.slice(0, at), partition: Number(key.slice(at + 1)) };
}
