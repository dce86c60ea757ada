/** `AgentApi`'s admin calls: topics and the cluster. Checks requests, asks metadata, maps answers. Called by the services. */
import { invalid } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { checkTopicName, type Topic } from "../core/topic.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type {
  AlterTopicRequest,
  AlterTopicResponse,
  CreateTopicRequest,
  CreateTopicResponse,
  DeleteTopicRequest,
  DeleteTopicResponse,
  DescribeClusterRequest,
  DescribeClusterResponse,
  DescribeTopicRequest,
  DescribeTopicResponse,
  ListTopicsResponse,
  Topic as TopicMessage,
} from "../rpc/gen/streamhouse/v1/admin.ts";
import { JoinedReads } from "./joined-reads.ts";
import type { Topics } from "./topics.ts";

export interface AdminComponents {
  readonly metadata: MetadataStore;
  readonly topics: Topics;
  readonly runId: () => string;
  /** Takes the leases of new partitions, so that the first record need not wait for the next round. Never rejects. */
  readonly assign: () => Promise<void>;
  /** A topic was deleted: its objects may be deleted too. Does not wait. */
  readonly sweep: () => void;
}

export class Admin {
  readonly #parts: AdminComponents;
  /** While partitions move, many clients ask the same at the same time. */
  readonly #topicReads = new JoinedReads<DescribeTopicResponse>();
  readonly #clusterReads = new JoinedReads<DescribeClusterResponse>();

  constructor(components: AdminComponents) {
    this.#parts = components;
  }

  async createTopic(request: CreateTopicRequest): Promise<CreateTopicResponse> {
    const { name, retentionMs } = request;
    checkTopicName(name);
    const partitions = request.partitions === 0 ? 1 : request.partitions;
    checkPartitions(partitions);
    checkRetention(retentionMs);
    if (this.#parts.topics.size >= limits.topicsMax) {
      const full = `there are ${limits.topicsMax} topics, which is the limit: delete one first`;
      throw invalid("INVALID_ARGUMENT", full, { field: "name" });
    }
    const topic = await this.#parts.metadata.createTopic({ name, partitions, retentionMs });
    this.#parts.topics.put(topic);
    await this.#parts.assign();
    return { topic: toMessage(topic) };
  }

  async alterTopic(request: AlterTopicRequest): Promise<AlterTopicResponse> {
    const { name, partitions, retentionMs } = request;
    if (partitions !== undefined) checkPartitions(partitions);
    if (retentionMs !== undefined) checkRetention(retentionMs);
    const topic = await this.#parts.metadata.alterTopic(name, { partitions, retentionMs });
    this.#parts.topics.put(topic);
    if (partitions !== undefined) await this.#parts.assign();
    return { topic: toMessage(topic) };
  }

  async deleteTopic(request: DeleteTopicRequest): Promise<DeleteTopicResponse> {
    const topic = await this.#parts.metadata.deleteTopic(request.name);
    this.#parts.topics.remove(topic.id);
    this.#parts.sweep();
    return {};
  }

  async listTopics(): Promise<ListTopicsResponse> {
    await this.#parts.topics.refresh();
    const topics = [...this.#parts.topics.all()].map(toMessage);
    return { topics: topics.sort((a, b) => (a.name < b.name ? -1 : 1)) };
  }

  async describeTopic(request: DescribeTopicRequest): Promise<DescribeTopicResponse> {
    const { name } = request;
    const topicId = name === "" ? request.topicId : "";
    if (name === "" && topicId === "") {
      throw invalid("INVALID_ARGUMENT", "name and topic_id are both empty: set one of them", {
        field: "name",
      });
    }
    const topic = await this.#parts.topics.find({ name, topicId });
    return this.#topicReads.read(topic.id, () => this.#readTopic(topic));
  }

  async describeCluster(request: DescribeClusterRequest): Promise<DescribeClusterResponse> {
    const { agentsOnly } = request;
    return this.#clusterReads.read(agentsOnly ? "agents" : "all", () =>
      this.#readCluster(agentsOnly),
    );
  }

  async #readTopic(known: Topic): Promise<DescribeTopicResponse> {
    const { metadata, topics } = this.#parts;
    // It may have been changed since the read before this one began.
    const topic = topics.byId(known.id) ?? known;
    const ids = Array.from({ length: topic.partitions }, (_, partition) => ({
      topicId: topic.id,
      partition,
    }));
    const [bounds, leases, runs] = await Promise.all([
      metadata.partitionBounds(ids),
      metadata.listLeases(topic.id),
      metadata.listRuns(),
    ]);
    const bounded = new Map(bounds.map((it) => [it.partition, it]));
    // A dead holder cannot be asked: any agent knows better where to turn.
    const live = new Map(runs.filter((it) => it.isLive).map((it) => [it.runId, it.address]));
    const held = new Map(leases.filter((it) => live.has(it.runId)).map((it) => [it.partition, it]));
    const partitions = ids.map(({ partition }) => {
      const lease = held.get(partition);
      return {
        partition,
        logStartOffset: bounded.get(partition)?.logStartOffset ?? 0,
        highWatermark: bounded.get(partition)?.nextOffset ?? 0,
        holderRunId: lease?.runId ?? "",
        holderAddress: (lease && live.get(lease.runId)) ?? "",
        leaseEpoch: lease?.epoch ?? 0,
      };
    });
    return { topic: toMessage(topic), partitions };
  }

  async #readCluster(agentsOnly: boolean): Promise<DescribeClusterResponse> {
    const { metadata, runId } = this.#parts;
    const [runs, leases] = await Promise.all([
      metadata.listRuns(),
      agentsOnly ? [] : metadata.listLeases(),
    ]);
    const counts = new Map<string, number>();
    for (const lease of leases) counts.set(lease.runId, (counts.get(lease.runId) ?? 0) + 1);
    return {
      runId: runId(),
      agents: runs.map((it) => ({
        agentId: it.agentId,
        runId: it.runId,
        address: it.address,
        startedAtMs: it.startedAtMs,
        expiresAtMs: it.expiresAtMs,
        live: it.isLive,
        retiring: it.isRetiring,
        load: it.load,
        leases: agentsOnly ? undefined : (counts.get(it.runId) ?? 0),
      })),
      leases: leases.map((it) => ({
        topicId: it.topicId,
        partition: it.partition,
        runId: it.runId,
        epoch: it.epoch,
      })),
    };
  }
}

function toMessage(topic: Topic): TopicMessage {
  const { id, name, partitions, retentionMs, createdAtMs } = topic;
  return { topicId: id, name, partitions, retentionMs, createdAtMs };
}

function checkPartitions(partitions: number): void {
  const max = limits.partitionsPerTopicMax;
  if (Number.isInteger(partitions) && partitions >= 1 && partitions <= max) return;
  throw invalid("INVALID_ARGUMENT", `partitions is ${partitions}: expected 1 to ${max}`, {
    field: "partitions",
  });
}

function checkRetention(retentionMs: number): void {
  if (Number.isSafeInteger(retentionMs) && retentionMs >= 0) return;
  throw invalid(
    "INVALID_ARGUMENT",
    `retention_ms is ${retentionMs}: expected a number of ms, or 0 to keep records for ever`,
    { field: "retention_ms" },
  );
}
