/**
 * The port to metadata: who owns which partition, which object holds which offset, how far a group has read.
 * Implementations: SQLite (one process), PostgreSQL (many agents). Every implementation runs the contract
 * suite in src/testing/contracts/metadata-store.ts. All expiry is by the store's own clock, read after locks are held.
 *
 * Errors: `METADATA_UNAVAILABLE` with outcome `none` (certainly not applied) or `unknown`; what else is
 * thrown stands at each method.
 */
import type { Topic, TopicPartition } from "../core/topic.ts";
import type { ChunkIndexEntry, ChunkLocation } from "../format/chunk.ts";
import type { KeyStore } from "./key-store.ts";
import type { MergeStore } from "./merge-store.ts";

/** One start of one agent. */
export interface AgentRun {
  readonly runId: string;
  readonly agentId: string;
  /** `host:port` of its gRPC server, or empty. */
  readonly address: string;
  /** By the store's clock, as everything that is stored. */
  readonly startedAtMs: number;
  readonly expiresAtMs: number;
  /** It had not expired when it was read, by the store's clock: agents' own clocks may be apart. */
  readonly isLive: boolean;
  /** On its way out (`retireRun`): it keeps what it holds until it has handed it over, and is to get nothing more. */
  readonly isRetiring: boolean;
  /** As told by its last renewal; undefined before the first. */
  readonly load: AgentLoad | undefined;
}

/** What an agent does, over the seconds before its last renewal. For people who look at the cluster; nothing is decided by it. */
export interface AgentLoad {
  readonly recordsInPerSecond: number;
  readonly bytesInPerSecond: number;
  readonly bytesOutPerSecond: number;
  /** Flushes committed per second. */
  readonly flushesPerSecond: number;
}

/**
 * Something may have changed, by this process or another: `assignment` topics, runs or leases · `log` flushes, merges, log starts. A
 * hint can be late, doubled or lost: whoever listens polls too.
 */
export type MetadataHint = "assignment" | "log";

export interface Lease extends TopicPartition {
  readonly runId: string;
  readonly epoch: number;
}

/** A lease just acquired, with what the new holder must know to go on. */
export interface LeaseGrant extends Lease, PartitionBounds {
  /** Packed producer state (`agent/producer-state.ts` has the codec); null if there is none. */
  readonly producerState: Uint8Array | null;
}

export interface PartitionBounds extends TopicPartition {
  /** The high watermark: next offset to be committed. */
  readonly nextOffset: number;
  readonly logStartOffset: number;
}

export interface FlushCommit {
  readonly runId: string;
  /** Rises by one with every seal of the run; unique for the run. */
  readonly flushSequence: number;
  readonly location: ChunkLocation;
  /** Sorted by (topicId, partition); `baseOffset` must equal the partition's next offset. */
  readonly entries: readonly ChunkIndexEntry[];
  /** New packed producer state of the partitions where it changed. */
  readonly producerStates: readonly (TopicPartition & { readonly state: Uint8Array })[];
}

/**
 * `refused`: nothing was applied; `partitions` says for which ones and why. `swept`: nothing was applied, since the object was given
 * up by the sweeper: write the chunk again, under another key.
 */
export type FlushOutcome =
  | { readonly status: "committed" }
  | { readonly status: "swept" }
  | {
      readonly status: "refused";
      readonly partitions: readonly (TopicPartition & {
        /** `fenced`: another run or epoch holds it, or the run has expired. `deleted`: no such partition. */
        readonly reason: "fenced" | "deleted";
      })[];
    };

/** A committed flush, as read back. `flushId` rises in commit order: none becomes visible after a greater one. */
export interface CommittedFlush {
  readonly flushId: number;
  readonly runId: string;
  readonly flushSequence: number;
  readonly location: ChunkLocation;
  readonly entries: readonly ChunkIndexEntry[];
}

export interface OffsetCommitInput extends TopicPartition {
  readonly offset: number;
  readonly metadata: string;
}

export interface StoredOffset extends OffsetCommitInput {
  readonly committedAtMs: number;
}

export interface GroupAssignment extends TopicPartition {
  readonly topic: string;
}

/** A partition that a member has, and the group's epoch at which it got it. */
export interface MemberPartition extends GroupAssignment {
  readonly epoch: number;
}

export interface HeartbeatInput {
  readonly group: string;
  readonly memberId: string;
  /** A name that stays when the consumer restarts; empty: a dynamic member. */
  readonly instanceId: string;
  /** 0 joins. */
  readonly memberEpoch: number;
  readonly clientId: string;
  readonly topics: readonly string[];
  readonly sessionTimeoutMs: number;
  /** How long it has to let go of what is to be revoked, from when it was told; a session's length at least. */
  readonly rebalanceTimeoutMs: number;
  /**
   * What it holds: all that it was told it has, without what it let go of since. Only what is missing here is given to others, and only
   * from a member whose epoch shows that it knew of it.
   */
  readonly owned: readonly TopicPartition[];
}

export interface HeartbeatResult {
  readonly memberEpoch: number;
  /** All that it may read now, by topic name and partition. What it holds and does not find here, it is to let go of. */
  readonly assigned: readonly MemberPartition[];
  /** What it is to let go of, and holds still: until then its fetches and commits there are as good as before. */
  readonly revoking: readonly MemberPartition[];
  /** The time that is left for the first of it, after which it is another's; 0 if there is nothing. An earlier answer may have been lost. */
  readonly letGoWithinMs: number;
  /** How many partitions are still to come, when others have let go of them: who waits should ask again soon. */
  readonly awaited: number;
}

export interface GroupMemberState {
  readonly memberId: string;
  /** Empty: a dynamic member. */
  readonly instanceId: string;
  readonly clientId: string;
  readonly memberEpoch: number;
  /** What it subscribed to, sorted. */
  readonly topics: readonly string[];
  /** Until its session ends, unless it calls again; by the store's clock. */
  readonly expiresInMs: number;
  readonly assigned: readonly MemberPartition[];
  /** What it holds and is to let go of. */
  readonly revoking: readonly MemberPartition[];
}

/** `empty`: no live member. `reconciling`: a partition is on its way from one member to another. `stable`: everybody has its share. */
export type GroupPhase = "empty" | "stable" | "reconciling";

export interface GroupState {
  readonly group: string;
  readonly groupEpoch: number;
  readonly state: GroupPhase;
  /** The live ones, in the order of joining; among them static ones whose place is kept. */
  readonly members: readonly GroupMemberState[];
}

export interface GroupSummary {
  readonly group: string;
  /** Live ones. */
  readonly members: number;
  readonly groupEpoch: number;
  readonly state: GroupPhase;
}

/** One row of the consistent cut that lag is computed from. */
export interface LagRow extends PartitionBounds {
  readonly group: string;
  readonly topic: string;
  /** -1 if the group has committed nothing but a member is assigned, or the partition was asked for. */
  readonly committedOffset: number;
  /** Ms since 1970 by the store's clock; 0 if nothing was committed. */
  readonly committedAtMs: number;
}

/** One consistent cut: every row and every count is of the same moment. */
export interface LagSnapshot {
  /** The moment, ms since 1970 by the store's clock. */
  readonly asOfMs: number;
  /** In no order that is promised. */
  readonly rows: readonly LagRow[];
  /** Groups with live members, and how many each has; the dead ones are left out. */
  readonly members: ReadonlyMap<string, number>;
}

/**
 * The port to metadata. Every call is one transaction, and what it answered is durable. `metadataStoreContract` of
 * `./testing` is its exact meaning.
 */
export interface MetadataStore extends MergeStore, KeyStore {
  readonly kind: string;

  /** Calls `wake` after changes; hints that come close together are one. Answers a function that ends it. */
  watch(wake: (hint: MetadataHint) => void): () => void;

  // Topics
  /** @throws `TOPIC_EXISTS` */
  createTopic(spec: Pick<Topic, "name" | "partitions" | "retentionMs">): Promise<Topic>;
  /** @throws `TOPIC_NOT_FOUND`, `INVALID_ARGUMENT` if the partition count would fall */
  alterTopic(
    name: string,
    change: { readonly partitions?: number | undefined; readonly retentionMs?: number | undefined },
  ): Promise<Topic>;
  /** Deletes its partitions, leases, offsets and producer state with it. @throws `TOPIC_NOT_FOUND` */
  deleteTopic(name: string): Promise<Topic>;
  listTopics(): Promise<readonly Topic[]>;

  // Runs and leases
  /**
   * Registers a run. `predecessorsDead: true` (the data folder's lock is held) ends every other run at once,
   * without waiting for its expiry.
   */
  startRun(run: {
    readonly runId: string;
    readonly agentId: string;
    readonly address: string;
    readonly ttlMs: number;
    readonly predecessorsDead: boolean;
  }): Promise<AgentRun>;
  /** One write renews all of the run's leases. False: the run is over (expired and taken over, or ended). */
  renewRun(runId: string, ttlMs: number, load?: AgentLoad): Promise<boolean>;
  /**
   * Says that the run is to get no more leases, and that others should hold what it has: `listRuns` shows it, a hint (`assignment`)
   * tells it. It can be renewed, commit and release as before. Nothing happens if the run is over.
   */
  retireRun(runId: string): Promise<void>;
  /** Releases all its leases and forgets it. */
  endRun(runId: string): Promise<void>;
  listRuns(): Promise<readonly AgentRun[]>;
  /**
   * Takes those of the partitions that are free, or whose holder's run has expired or ended, or that the run holds already.
   * The epoch rises at every acquisition that is not a renewal by the same run. Others are left out, as are partitions that do
   * not exist. Taking a lease from an expired run ends that run. @throws `LEASE_LOST` if the asking run is over
   */
  acquireLeases(
    runId: string,
    partitions: readonly TopicPartition[],
  ): Promise<readonly LeaseGrant[]>;
  releaseLeases(runId: string, partitions: readonly TopicPartition[]): Promise<void>;
  /** Of every topic, or of one. */
  listLeases(topicId?: string): Promise<readonly Lease[]>;

  // The log's index
  /**
   * One transaction: locks the partitions in order, then checks run, epoch and expiry of each, then
   * inserts the flush and moves the next offsets. All or nothing. A flush (run and sequence) that is committed already
   * answers `committed` and is not applied again. @throws `INTERNAL` if a base offset is not the next one, `STORE_FULL`
   */
  commitFlush(flush: FlushCommit): Promise<FlushOutcome>;
  /**
   * After an unknown outcome: takes the same locks in a new transaction, then looks the flush up (a plain
   * look-up could miss a commit that is still on its way).
   */
  resolveFlush(flush: FlushCommit): Promise<"committed" | "absent">;
  /** Committed flushes after `afterFlushId` in commit order, at most `limit`. */
  listFlushes(afterFlushId: number, limit: number): Promise<readonly CommittedFlush[]>;
  partitionBounds(partitions: readonly TopicPartition[]): Promise<readonly PartitionBounds[]>;
  /** Raises log starts (never lowers, never beyond the next offset). */
  advanceLogStart(
    bounds: readonly (TopicPartition & { readonly logStartOffset: number })[],
  ): Promise<void>;
  /**
   * Forgets flushes of which no partition has an offset at or above its log start that is not merged, and answers them; an object
   * that no other flush lies in is doomed in the same transaction (`listDoomed`). Looks at no more than `limit` flushes that may be
   * dead, so fewer answered than `limit` does not mean that there are no more: ask again next time.
   */
  dropDeadFlushes(limit: number): Promise<readonly CommittedFlush[]>;

  // Producers
  allocateProducerId(): Promise<{ readonly producerId: number; readonly producerEpoch: number }>;
  /** @throws `PRODUCER_FENCED` if `producerEpoch` is not the newest, `UNKNOWN_PRODUCER` */
  bumpProducerEpoch(
    producerId: number,
    producerEpoch: number,
  ): Promise<{ readonly producerId: number; readonly producerEpoch: number }>;

  // Groups
  /**
   * Joins or stays. Each member gets its share of the partitions of its topics; one that somebody else holds comes when that one has let
   * it go, or its session ended, or its time to let go is over. A member that is to let go keeps its epoch until it has. With the instance id of a member whose place is kept, or whose session ended, it takes that place.
   * @throws `UNKNOWN_MEMBER` (join again with epoch 0), `GROUP_FENCED`, `INSTANCE_ID_IN_USE`
   */
  heartbeat(input: HeartbeatInput): Promise<HeartbeatResult>;
  /**
   * Its partitions are free at once. With `keepPlace` a static member's stay its own until its session ends, counted from now; a
   * dynamic member just leaves. Nothing happens if there is no such member, or if `memberEpoch` (the member's own, if it is known)
   * is older than its last joining.
   */
  leaveGroup(
    group: string,
    memberId: string,
    options: { readonly keepPlace: boolean; readonly memberEpoch?: number | undefined },
  ): Promise<void>;
  /**
   * With a member: it must be live and hold the partitions, also those that it is to let go of, since an epoch not after the one it
   * says, which is not after its own. Without (`memberId` empty): the group must have no live member. All or none are
   * stored; with `forwardOnly` those below the committed offset are passed over. @throws `UNKNOWN_MEMBER`, `GROUP_FENCED`, `GROUP_BUSY`, `TOPIC_NOT_FOUND`
   */
  commitOffsets(
    group: string,
    member: { readonly memberId: string; readonly memberEpoch: number },
    offsets: readonly OffsetCommitInput[],
    options?: { readonly forwardOnly?: boolean | undefined },
  ): Promise<void>;
  fetchOffsets(
    group: string,
    partitions?: readonly TopicPartition[],
  ): Promise<readonly StoredOffset[]>;
  listGroups(): Promise<readonly GroupSummary[]>;
  /** Undefined if nobody ever used the group. */
  describeGroup(group: string): Promise<GroupState | undefined>;
  /** Forgets the group and its offsets. @throws `GROUP_BUSY` while it has live members, `GROUP_NOT_FOUND` */
  deleteGroup(group: string): Promise<void>;
  /**
   * Forgets groups that had no live member and no commit for `retentionMs`, with their offsets; at most `max` of them. Answers
   * how many.
   */
  expireOffsets(retentionMs: number, max: number): Promise<number>;
  /**
   * What was committed, by the living and the dead, and what live members have or are to have: of all groups, or of one. With `partitions` also
   * these, each with a row of the group, unless they do not exist. The empty group is nobody's: it has those rows only.
   */
  lagSnapshot(group?: string, partitions?: readonly TopicPartition[]): Promise<LagSnapshot>;

  close(): Promise<void>;
}
