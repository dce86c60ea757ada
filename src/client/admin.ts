/**
 * Topics, groups and the cluster, for programs and for the command line: friendly types over the agent's calls, asked of any agent and
 * asked again where that is safe. Made by `connect()` as `house.admin`.
 */
import { type Clock, sleep } from "../core/clock.ts";
import { asStreamHouseError, invalid, StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import { backoffMs } from "../core/retry.ts";
import { checkPartition, checkTopicName, type Topic } from "../core/topic.ts";
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import { fromErrorDetail } from "../rpc/status.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { MetricRegistry } from "../telemetry/cells.ts";
import { createTelemetry, type Telemetry } from "../telemetry/telemetry.ts";
import type {
  Admin,
  AdminCallOptions,
  ClusterDescription,
  CommittedOffset,
  CreateTopicOptions,
  GroupDescription,
  GroupListing,
  GroupPhase,
  KeysAdmin,
  OffsetPosition,
  PartitionOffset,
  TopicChanges,
  TopicDescription,
} from "./admin-api.ts";
import { createKeysAdmin } from "./admin-keys.ts";
import { CallTracer } from "./call-tracer.ts";
import type { Cluster } from "./cluster.ts";
import { topicOf } from "./topic-message.ts";

export interface AdminComponents {
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** For the calls' spans and their retries. Closed by whoever made it. Default: none. */
  readonly telemetry?: Telemetry | undefined;
}

export interface AdminOptions {
  /** Time limit of a call with all its retries, ms. Default 30,000. */
  readonly timeoutMs?: number | undefined;
}

/** The admin client of a cluster. It holds nothing: there is nothing to close. */
export function createAdmin(
  cluster: Cluster,
  components: AdminComponents,
  options: AdminOptions = {},
): Admin {
  return new ClusterAdmin(cluster, components, options.timeoutMs ?? 30_000);
}

const BACKOFF = { baseMs: 100, maxMs: 2_000 };

/** What may be asked again: everything, or only what was certainly not applied. */
type Retry = "always" | "if-not-applied";

class ClusterAdmin implements Admin {
  readonly keys: KeysAdmin;
  readonly #cluster: Cluster;
  readonly #tracer: CallTracer;
  readonly #metrics: MetricRegistry;
  readonly #clock: Clock;
  readonly #random: RandomBytes;
  readonly #timeoutMs: number;

  constructor(cluster: Cluster, components: AdminComponents, timeoutMs: number) {
    this.#cluster = cluster;
    const telemetry = components.telemetry ?? createTelemetry(false, { name: "admin" });
    this.#tracer = new CallTracer(telemetry);
    this.#metrics = telemetry.metrics;
    this.#clock = components.clock;
    this.#random = components.random;
    this.#timeoutMs = timeoutMs;
    this.keys = createKeysAdmin((call, retry, ask) => this.#ask(call, retry, ask));
  }

  async createTopic(name: string, options: CreateTopicOptions = {}): Promise<Topic> {
    checkTopicName(name);
    const request = {
      name,
      partitions: wholeNumber("partitions", options.partitions ?? 1, 1),
      retentionMs: wholeNumber("retentionMs", options.retentionMs ?? 0, 0),
    };
    // A second try after an unknown outcome could be told that the topic exists, by its own first try.
    const answer = await this.#ask(options, "if-not-applied", (api, call) =>
      api.createTopic(request, call),
    );
    return topicOf(answer.topic);
  }

  async deleteTopic(name: string, options: AdminCallOptions = {}): Promise<void> {
    // A second try after an unknown outcome could delete a topic that somebody made anew under the name.
    await this.#ask(options, "if-not-applied", (api, call) => api.deleteTopic({ name }, call));
  }

  async listTopics(options: AdminCallOptions = {}): Promise<readonly Topic[]> {
    const answer = await this.#ask(options, "always", (api, call) => api.listTopics({}, call));
    return answer.topics.map(topicOf).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async describeTopic(name: string, options: AdminCallOptions = {}): Promise<TopicDescription> {
    const answer = await this.#ask(options, "always", (api, call) =>
      api.describeTopic({ name, topicId: "" }, call),
    );
    return {
      ...topicOf(answer.topic),
      partitionList: answer.partitions.map((it) => ({
        partition: it.partition,
        logStartOffset: it.logStartOffset,
        highWatermark: it.highWatermark,
        holder:
          it.holderRunId === "" ? undefined : { runId: it.holderRunId, address: it.holderAddress },
        leaseEpoch: it.leaseEpoch,
      })),
    };
  }

  async alterTopic(
    name: string,
    changes: TopicChanges,
    options: AdminCallOptions = {},
  ): Promise<Topic> {
    const { partitions, retentionMs } = changes;
    const request = {
      name,
      partitions: partitions === undefined ? undefined : wholeNumber("partitions", partitions, 1),
      retentionMs:
        retentionMs === undefined ? undefined : wholeNumber("retentionMs", retentionMs, 0),
    };
    // It sets values, so twice is as good as once.
    const answer = await this.#ask(options, "always", (api, call) => api.alterTopic(request, call));
    return topicOf(answer.topic);
  }

  async describeCluster(options: AdminCallOptions = {}): Promise<ClusterDescription> {
    const answer = await this.#ask(options, "always", (api, call) =>
      api.describeCluster({ agentsOnly: false }, call),
    );
    const agents = answer.agents.map(({ live, retiring, leases = 0, ...agent }) => ({
      ...agent,
      isLive: live,
      isRetiring: retiring,
      leases,
    }));
    return { answeredByRunId: answer.runId, agents, leases: answer.leases };
  }

  async listGroups(options: AdminCallOptions = {}): Promise<readonly GroupListing[]> {
    const answer = await this.#ask(options, "always", (api, call) => api.listGroups({}, call));
    return answer.groups.map(({ group, members, groupEpoch, state }) => ({
      ...{ group, members, epoch: groupEpoch, state: phaseOf(state, members) },
    }));
  }

  async describeGroup(group: string, options: AdminCallOptions = {}): Promise<GroupDescription> {
    const answer = await this.#ask(options, "always", (api, call) =>
      api.describeGroup({ group, positions: [] }, call),
    );
    return {
      group: answer.group,
      epoch: answer.groupEpoch,
      state: phaseOf(answer.state, answer.members.length),
      members: answer.members.map(({ memberEpoch: epoch, ...it }) => ({ ...it, epoch })),
      lags: answer.lags.map(({ committedOffset, error, ...lag }) => ({
        ...lag,
        committedOffset: committedOffset < 0 ? undefined : committedOffset,
        error: error === undefined ? undefined : fromErrorDetail(error),
      })),
      asOfMs: answer.asOfMs,
    };
  }

  async offsets(
    topic: string,
    at: OffsetPosition,
    options: AdminCallOptions = {},
  ): Promise<readonly PartitionOffset[]> {
    const timestampMs = timestampOf(at);
    const { id, partitions } = await this.#topic(topic, options);
    const wanted = Array.from({ length: partitions }, (_, partition) => ({
      ...{ topicId: id, partition, timestampMs },
    }));
    const answer = await this.#ask(options, "always", (api, call) =>
      api.listOffsets({ partitions: wanted }, call),
    );
    return answer.offsets.map(({ partition, offset, error }) => {
      if (error !== undefined) throw fromErrorDetail(error);
      return { topic, partition, offset };
    });
  }

  async committedOffsets(
    group: string,
    options: AdminCallOptions = {},
  ): Promise<readonly CommittedOffset[]> {
    const answer = await this.#ask(options, "always", (api, call) =>
      api.fetchOffsets({ group, partitions: [] }, call),
    );
    return answer.offsets;
  }

  async alterGroupOffsets(
    group: string,
    offsets: readonly PartitionOffset[],
    options: AdminCallOptions = {},
  ): Promise<void> {
    const topics = new Map<string, Topic>();
    for (const { topic: name, partition, offset } of offsets) {
      wholeNumber("offset", offset, 0);
      const topic = topics.get(name) ?? (await this.#topic(name, options));
      checkPartition(topic, partition);
      topics.set(name, topic);
    }
    const request = {
      ...{ group, memberId: "", memberEpoch: 0, forwardOnly: false },
      offsets: offsets.map(({ topic, partition, offset }) => ({
        ...{ topicId: topics.get(topic)?.id ?? "", partition, offset, metadata: "" },
      })),
    };
    // A second try after an unknown outcome could set back a group that has begun to read in between.
    await this.#ask(options, "if-not-applied", (api, call) => api.commitOffsets(request, call));
  }

  async deleteGroup(group: string, options: AdminCallOptions = {}): Promise<void> {
    // As with topics: a second try could be about another group of the name.
    await this.#ask(options, "if-not-applied", (api, call) => api.deleteGroup({ group }, call));
  }

  /** Fresh: what an administrator sees is never from a cache. */
  async #topic(name: string, options: AdminCallOptions): Promise<Topic> {
    return this.#cluster.topic(name, { fresh: true, signal: options.signal });
  }

  /** Asks some agent, again with growing pauses while time is left and the failure allows it. */
  async #ask<T>(
    options: AdminCallOptions,
    retry: Retry,
    ask: (api: AgentApi, call: CallContext) => Promise<T>,
  ): Promise<T> {
    const { signal } = options;
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
    const deadline = this.#clock.monotonic() + timeoutMs;
    for (let attempt = 1; ; attempt++) {
      const left = Math.max(1, Math.ceil(deadline - this.#clock.monotonic()));
      try {
        const agent = await this.#cluster.any(signal);
        return await ask(this.#tracer.api(agent), { timeoutMs: left, signal });
      } catch (thrown) {
        const error = asStreamHouseError(thrown, "the admin call");
        // About no partition: the agent that `any()` answered.
        this.#cluster.note("", -1, error);
        const again = error.retriable && (retry === "always" || error.outcome === "none");
        const pause = Math.max(backoffMs(BACKOFF, attempt, this.#random), error.retryAfterMs ?? 0);
        if (!again || this.#clock.monotonic() + pause >= deadline) throw error;
        this.#metrics.counter(catalogue.retries, { "error.type": error.code }).add(1);
        await sleep(this.#clock, pause, signal).catch((reason: unknown) => {
          throw abortedWhileWaiting(error, reason);
        });
      }
    }
  }
}

/** An agent that is older than the field says nothing: then what the members say. */
function phaseOf(state: string, members: number): GroupPhase {
  if (state === "empty" || state === "reconciling" || state === "stable") return state;
  return members === 0 ? "empty" : "stable";
}

function wholeNumber(field: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw invalid("INVALID_ARGUMENT", `${field} is ${value}: use a whole number from ${least} up`, {
    field,
  });
}

function timestampOf(at: OffsetPosition): number {
  if (at === "latest") return -1;
  if (at === "earliest") return -2;
  return wholeNumber("timestamp", at instanceof Date ? at.getTime() : at, 0);
}

function abortedWhileWaiting(last: StreamHouseError, cause: unknown): StreamHouseError {
  return new StreamHouseError({
    code: "ABORTED",
    kind: "closed",
    outcome: last.outcome,
    message: `aborted while waiting to ask again after: ${last.message}`,
    cause,
  });
}
