/** What an admin client offers: its door, in types of their own. Implemented by `admin.ts`. */
import type { AccessRight } from "../core/access.ts";
import type { StreamHouseError } from "../core/errors.ts";
import type { Topic } from "../core/topic.ts";

/** What every administrative call takes. */
export interface AdminCallOptions {
  /** Ends the call with `ABORTED`. */
  readonly signal?: AbortSignal | undefined;
  /** Time limit with all retries, ms. Default: the admin client's, 30,000. */
  readonly timeoutMs?: number | undefined;
}

/** Settings of a new topic. */
export interface CreateTopicOptions extends AdminCallOptions {
  /** From 1 to 10,000; default 1. It can be raised later, which re-maps keys. */
  readonly partitions?: number | undefined;
  /** Records older than this (by append time) are deleted, ms. Default 0: never. */
  readonly retentionMs?: number | undefined;
}

/** What is left out stays as it is. */
export interface TopicChanges {
  /** Cannot be lowered. Raising it re-maps keys to partitions. */
  readonly partitions?: number | undefined;
  /** Records older than this (by append time) are deleted, ms; 0: never. */
  readonly retentionMs?: number | undefined;
}

/** A topic with each of its partitions, as the agents know it now. */
export interface TopicDescription extends Topic {
  readonly partitionList: readonly PartitionDescription[];
}

/** One partition: what can be read of it, and who writes it. */
export interface PartitionDescription {
  readonly partition: number;
  /** First offset that can be read. */
  readonly logStartOffset: number;
  /** Next offset to be committed: everything below is readable. */
  readonly highWatermark: number;
  /** The agent run that holds the lease; its address is empty for an embedded agent. Undefined: nobody. */
  readonly holder: { readonly runId: string; readonly address: string } | undefined;
  readonly leaseEpoch: number;
}

/** The agents that run and the leases that they hold, from one reading of metadata. */
export interface ClusterDescription {
  /** The run of the agent that answered. */
  readonly answeredByRunId: string;
  readonly agents: readonly AgentDescription[];
  readonly leases: readonly LeaseDescription[];
}

/** One run of an agent, from its start until it stops or expires. */
export interface AgentDescription {
  readonly agentId: string;
  readonly runId: string;
  /** `host:port`; empty for an embedded agent without a gRPC server. */
  readonly address: string;
  /** When the run began, ms since 1970 by the metadata store's clock, which the agents' clocks may be apart from. */
  readonly startedAtMs: number;
  /** When the run ends unless it renews itself, by the same clock. */
  readonly expiresAtMs: number;
  /** It had not expired when metadata was read. */
  readonly isLive: boolean;
  /** It is about to stop and hands over what it holds. */
  readonly isRetiring: boolean;
  /** How many leases it holds. */
  readonly leases: number;
  /** As told by its last renewal; undefined before the first. */
  readonly load: AgentLoadDescription | undefined;
}

/** What an agent did in the seconds before its last renewal. */
export interface AgentLoadDescription {
  readonly recordsInPerSecond: number;
  readonly bytesInPerSecond: number;
  readonly bytesOutPerSecond: number;
  /** Flushes committed per second. */
  readonly flushesPerSecond: number;
}

/** Which run may write a partition; the epoch rises with every new holder. */
export interface LeaseDescription {
  readonly topicId: string;
  readonly partition: number;
  readonly runId: string;
  readonly epoch: number;
}

/** `empty`: no live member. `reconciling`: a partition is on its way from one member to another. `stable`: everybody has its share. */
export type GroupPhase = "empty" | "stable" | "reconciling";

/** One line of the list of consumer groups. */
export interface GroupListing {
  readonly group: string;
  /** Live members. */
  readonly members: number;
  readonly epoch: number;
  readonly state: GroupPhase;
}

/** A consumer group: its live members, and its lag in each partition. */
export interface GroupDescription {
  readonly group: string;
  readonly epoch: number;
  readonly state: GroupPhase;
  readonly members: readonly MemberDescription[];
  /** Every partition that the group has committed an offset for or that a member is assigned, in one snapshot. */
  readonly lags: readonly PartitionLagDescription[];
  /** When the snapshot was taken, ms since 1970. */
  readonly asOfMs: number;
}

/** A partition of a member. */
export interface MemberPartitionDescription {
  readonly topicId: string;
  readonly topic: string;
  readonly partition: number;
}

/** A live member of a group and the partitions it has. */
export interface MemberDescription {
  readonly memberId: string;
  /** The name of a static member (the consumer's `groupInstanceId`); empty for others. */
  readonly instanceId: string;
  readonly clientId: string;
  readonly epoch: number;
  /** Names of the topics that it subscribed to. */
  readonly topics: readonly string[];
  /** Until its session ends, unless it is heard of again, ms. */
  readonly sessionLeftMs: number;
  readonly assigned: readonly MemberPartitionDescription[];
  /** What it has and is about to let go of, for other members. */
  readonly revoking: readonly MemberPartitionDescription[];
}

/** How far a group has read a partition. */
export interface PartitionLagDescription {
  readonly topicId: string;
  readonly topic: string;
  readonly partition: number;
  /** Undefined if the group committed nothing here: its lag is then counted from the log start. */
  readonly committedOffset: number | undefined;
  readonly highWatermark: number;
  readonly logStartOffset: number;
  /** Records to read yet; never negative. */
  readonly lagRecords: number;
  /** Age of the batch that holds the first of them, s; 0 exactly when `lagRecords` is 0. */
  readonly lagSeconds: number;
  /** Records that were deleted before the group read them. */
  readonly lostRecords: number;
  /** Set if this partition's lag could not be determined. */
  readonly error: StreamHouseError | undefined;
}

/** The log start, the high watermark, or the first record at or after a time (a Date, or ms since 1970). */
export type OffsetPosition = "earliest" | "latest" | Date | number;

/** The offset found in one partition. */
export interface PartitionOffset {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** Where a group goes on in a partition. */
export interface CommittedOffset {
  readonly topicId: string;
  readonly partition: number;
  /** Offset of the next record to read. */
  readonly offset: number;
  /** What the committer noted with it. */
  readonly metadata: string;
  /** ms since 1970. */
  readonly committedAtMs: number;
}

/** A key, as it is shown: never with its secret. */
export interface ApiKeyDescription {
  /** The public part of the key's text: what it is revoked by, and what agents' logs call it. */
  readonly id: string;
  readonly name: string;
  readonly rights: readonly AccessRight[];
  /** ms since 1970, by the cluster's clock. */
  readonly createdAtMs: number;
  /** Refused from here on; undefined: it does not expire. */
  readonly expiresAtMs: number | undefined;
  /** Whether that time has come, by the cluster's clock. */
  readonly isExpired: boolean;
}

/** A new key, and its text, which nobody can be told again. */
export interface CreatedApiKey extends ApiKeyDescription {
  /** `sh_<id>_<secret>`: what `connect({ apiKey })` takes. Keep it where secrets are kept. */
  readonly text: string;
}

/** Settings of a new key. */
export interface CreateKeyOptions extends AdminCallOptions {
  /** What it may do: 1 to 64 rights. */
  readonly rights: readonly AccessRight[];
  /** It is refused this long after its making, ms. Default: it does not expire. */
  readonly lifeMs?: number | undefined;
}

/** What an admin client offers for keys. Every method rejects with `StreamHouseError`. */
export interface KeysAdmin {
  /**
   * Makes a key. To replace one, make its follower under the same name, give that to all who use it, then revoke the old one.
   * @throws StreamHouseError `INVALID_ARGUMENT`, `PERMISSION_DENIED`, `NOT_SUPPORTED` where agents take calls without keys
   */
  create(name: string, options: CreateKeyOptions): Promise<CreatedApiKey>;
  /** Every key in the order of their making, the expired ones with them. */
  list(options?: AdminCallOptions): Promise<readonly ApiKeyDescription[]>;
  /** Ends a key: agents refuse it within seconds. False: there was none of this id. */
  revoke(id: string, options?: AdminCallOptions): Promise<boolean>;
}

/**
 * Every method rejects with `StreamHouseError`. Calls are retried within their time limit when that is safe: reads always, changes
 * only when they were certainly not applied.
 */
export interface Admin {
  /** API keys. */
  readonly keys: KeysAdmin;
  /** Creates a topic. @throws StreamHouseError `TOPIC_EXISTS`, `INVALID_TOPIC_NAME`, `INVALID_ARGUMENT` */
  createTopic(name: string, options?: CreateTopicOptions): Promise<Topic>;
  /** Deletes the topic and its records. @throws StreamHouseError `TOPIC_NOT_FOUND` */
  deleteTopic(name: string, options?: AdminCallOptions): Promise<void>;
  /** Every topic, by name. */
  listTopics(options?: AdminCallOptions): Promise<readonly Topic[]>;
  /** A topic and its partitions: bounds and lease holders. @throws StreamHouseError `TOPIC_NOT_FOUND` */
  describeTopic(name: string, options?: AdminCallOptions): Promise<TopicDescription>;
  /** Changes partitions or retention. @throws StreamHouseError `TOPIC_NOT_FOUND`, `INVALID_ARGUMENT` if the partition count would fall */
  alterTopic(name: string, changes: TopicChanges, options?: AdminCallOptions): Promise<Topic>;
  /** Agents and leases. */
  describeCluster(options?: AdminCallOptions): Promise<ClusterDescription>;
  /** Groups that have members or have committed. */
  listGroups(options?: AdminCallOptions): Promise<readonly GroupListing[]>;
  /** Members, assignment and lag. */
  describeGroup(group: string, options?: AdminCallOptions): Promise<GroupDescription>;
  /** Offsets of every partition of a topic, by position or by time. @throws StreamHouseError `TOPIC_NOT_FOUND` */
  offsets(
    topic: string,
    at: OffsetPosition,
    options?: AdminCallOptions,
  ): Promise<readonly PartitionOffset[]>;
  /** What a group committed, for every partition it ever committed. */
  committedOffsets(group: string, options?: AdminCallOptions): Promise<readonly CommittedOffset[]>;
  /**
   * Sets where the group goes on, back or forth: all of them or none. Only while it has no live members.
   * @throws StreamHouseError `GROUP_BUSY`, `TOPIC_NOT_FOUND`, `PARTITION_OUT_OF_RANGE`, `INVALID_ARGUMENT`
   */
  alterGroupOffsets(
    group: string,
    offsets: readonly PartitionOffset[],
    options?: AdminCallOptions,
  ): Promise<void>;
  /** Forgets the group and what it committed. Only while it has no live members. @throws StreamHouseError `GROUP_BUSY`, `GROUP_NOT_FOUND` */
  deleteGroup(group: string, options?: AdminCallOptions): Promise<void>;
}
