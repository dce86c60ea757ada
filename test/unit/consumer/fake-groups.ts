/** The fake agent's groups: tests say who has which partition, and see every commit. */
import { invalid, StreamHouseError } from "../../../src/core/errors.ts";
import type { CallContext } from "../../../src/rpc/agent-api.ts";
import type { FetchRequest } from "../../../src/rpc/gen/streamhouse/v1/consumer.ts";
import type {
  AssignedPartition,
  CommitOffsetsRequest,
  DescribeGroupRequest,
  FetchOffsetsRequest,
  HeartbeatRequest,
  LeaveRequest,
} from "../../../src/rpc/gen/streamhouse/v1/group.ts";
import type { FakeAgent, FakeTopic, Method } from "./fake-agent.ts";

type Call = <T>(method: Method, call: CallContext, work: () => Promise<T>) => Promise<T>;

interface Member {
  epoch: number;
  assigned: AssignedPartition[];
}

export class FakeGroups {
  readonly heartbeats: HeartbeatRequest[] = [];
  readonly commits: CommitOffsetsRequest[] = [];
  readonly members: Map<string, Member> = new Map();
  left = 0;
  readonly leaves: LeaveRequest[] = [];
  /** What each member is given; undefined: all partitions of its topics. */
  plan: readonly (readonly [topic: string, partition: number])[] | undefined;
  readonly #agent: FakeAgent;
  readonly #committed = new Map<string, number>();
  #epoch = 0;

  constructor(agent: FakeAgent) {
    this.#agent = agent;
  }

  committed(topic: string, partition = 0): number | undefined {
    return this.#committed.get(`${this.#agent.topics.get(topic)?.id}/${partition}`);
  }

  setCommitted(topic: string, partition: number, offset: number): void {
    this.#committed.set(`${this.#agent.topics.get(topic)?.id}/${partition}`, offset);
  }

  /** Sessions end, as if nobody had been heard for long. */
  expel(): void {
    this.members.clear();
  }

  checkFetch({ group, memberId, partitions }: FetchRequest): void {
    if (group === "") return;
    const member = this.members.get(memberId);
    if (member === undefined) throw fenced("UNKNOWN_MEMBER");
    const owns = (topicId: string, partition: number) =>
      member.assigned.some((it) => it.topicId === topicId && it.partition === partition);
    if (!partitions.every((it) => owns(it.topicId, it.partition))) throw fenced("GROUP_FENCED");
  }

  api(call: Call): Record<string, (request: never, context: CallContext) => Promise<unknown>> {
    return {
      heartbeat: (request, context) => call("heartbeat", context, () => this.#heartbeat(request)),
      leave: async (request) => this.#leave(request),
      commitOffsets: (request, context) =>
        call("commitOffsets", context, () => this.#commit(request)),
      fetchOffsets: (request: FetchOffsetsRequest) => this.#fetchOffsets(request),
      describeGroup: (request, context) =>
        call("describeGroup", context, () => this.#describe(request)),
    };
  }

  async #heartbeat(request: HeartbeatRequest) {
    this.heartbeats.push(request);
    const { memberId, memberEpoch, owned } = request;
    let member = this.members.get(memberId);
    if (member === undefined) {
      if (memberEpoch !== 0) throw fenced("UNKNOWN_MEMBER");
      member = { epoch: ++this.#epoch, assigned: [] };
      this.members.set(memberId, member);
    }
    const topics = request.topics.flatMap((name) => this.#agent.topics.get(name) ?? []);
    const assigned = topics.flatMap(partitionsOf).filter((it) => this.#isPlanned(it));
    // What is still owned stays the member's until it has let it go.
    const kept = owned.filter((it) => !assigned.some((a) => same(a, it)));
    member.assigned = [...assigned, ...kept];
    return { memberEpoch: member.epoch, heartbeatIntervalMs: 1_000, assigned };
  }

  #isPlanned({ topic, partition }: AssignedPartition): boolean {
    return this.plan === undefined || this.plan.some(([t, p]) => t === topic && p === partition);
  }

  async #leave(request: LeaveRequest) {
    const { memberId } = request;
    this.leaves.push(request);
    this.left++;
    this.members.delete(memberId);
    return {};
  }

  async #commit(request: CommitOffsetsRequest) {
    if (request.memberId !== "" && !this.members.has(request.memberId)) {
      throw fenced("UNKNOWN_MEMBER");
    }
    const ids = new Set([...this.#agent.topics.values()].map((it) => it.id));
    const gone = request.offsets.find((it) => !ids.has(it.topicId));
    if (gone !== undefined) throw invalid("TOPIC_NOT_FOUND", `no topic ${gone.topicId}`);
    this.commits.push(request);
    for (const { topicId, partition, offset } of request.offsets) {
      this.#committed.set(`${topicId}/${partition}`, offset);
    }
    return {};
  }

  async #fetchOffsets({ partitions }: FetchOffsetsRequest) {
    const offsets = partitions.flatMap(({ topicId, partition }) => {
      const offset = this.#committed.get(`${topicId}/${partition}`);
      if (offset === undefined) return [];
      return [{ topicId, partition, offset, metadata: "", committedAtMs: 0 }];
    });
    return { offsets };
  }

  async #describe({ group, positions }: DescribeGroupRequest) {
    const lags = [...this.#agent.topics.values()].flatMap(partitionsOf).map((it) => {
      const log = this.#agent.log(it.topic, it.partition);
      const committed = this.#committed.get(`${it.topicId}/${it.partition}`) ?? -1;
      const asked = positions.find((p) => p.topicId === it.topicId && p.partition === it.partition);
      const start = committed >= 0 ? committed : (asked?.offset ?? 0);
      const from = Math.max(start, log.logStart);
      const lagRecords = Math.max(0, log.next - from);
      return {
        ...it,
        committedOffset: committed,
        highWatermark: log.next,
        logStartOffset: log.logStart,
        lagRecords,
        lagSeconds: lagRecords === 0 ? 0 : Math.max(0.001, this.#agent.ageAt(log, from)),
        lostRecords: 0,
        error: undefined,
      };
    });
    return { group, groupEpoch: this.#epoch, members: [], lags, asOfMs: 0 };
  }
}

function partitionsOf(topic: FakeTopic): AssignedPartition[] {
  return topic.logs.map((_, partition) => ({ topicId: topic.id, topic: topic.name, partition }));
}

function same(a: AssignedPartition, b: AssignedPartition): boolean {
  return a.topicId === b.topicId && a.partition === b.partition;
}

function fenced(code: "UNKNOWN_MEMBER" | "GROUP_FENCED"): StreamHouseError {
  return new StreamHouseError({ code, kind: "fenced", message: `${code} by the test's agent` });
}
