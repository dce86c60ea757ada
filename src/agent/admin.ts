/** `AgentApi`'s admin calls: topics and the cluster. Checks requests, asks metadata, maps answers. Called by the services. */
import { invalid } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { checkTopicName, partitionKey, type Topic } from "../core/topic.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type {
  AlterTopicRequest,
  AlterTopicResponse,
  CreateTopicRequest,
  CreateTopicResponse,
  DeleteTopicRequest,
  DeleteTopicResponse,
  DescribeClusterResponse,
  DescribeTopicRequest,
  DescribeTopicResponse,
  ListTopicsResponse,
  Topic as TopicMessage,
} from "../rpc/gen/streamhouse/v1/admin.ts";
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
    const { metadata, topics } = this.#parts;
    const topic = await topics.find({ name, topicId });
    const ids = Array.from({ length: topic.partitions }, (_, partition) => ({
      topicId: topic.id,
      partition,
    }));
    const [bounds, leases, runs] = await Promise.all([
      metadata.partitionBounds(ids),
      metadata.listLeases(),
      metadata.listRuns(),
    ]);
    const known = new Map(bounds.map((it) => [it.partition, it]));
    const held = new Map(leases.map((it) => [partitionKey(it.topicId, it.partition), it]));
    const addresses = new Map(runs.map((it) => [it.runId, it.address]));
    const partitions = ids.map(({ partition }) => {
      const lease = held.get(partitionKey(topic.id, partition));
      return {
        partition,
        logStartOffset: known.get(partition)?.logStartOffset ?? 0,
        highWatermark: known.get(partition)?.nextOffset ?? 0,
        holderRunId: lease?.runId ?? "",
        holderAddress: (lease && addresses.get(lease.runId)) ?? "",
        leaseEpoch: lease?.epoch ?? 0,
      };
    });
    return { topic: toMessage(topic), partitions };
  }

  async describeCluster(): Promise<DescribeClusterResponse> {
    const { metadata, runId } = this.#parts;
    const [runs, leases] = await Promise.all([metadata.listRuns(), metadata.listLeases()]);
    return {
      runId: runId(),
      agents: runs.map((it) => ({
        agentId: it.agentId,
        runId: it.runId,
        address: it.address,
        expiresAtMs: it.expiresAtMs,
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
