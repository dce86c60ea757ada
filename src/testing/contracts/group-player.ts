/** A member of a consumer group as a well-behaved client would be: what the parts of the metadata store's contract play with. */
import type { Topic } from "../../core/topic.ts";
import type {
  HeartbeatInput,
  HeartbeatResult,
  MemberPartition,
  MetadataStore,
} from "../../metadata/metadata-store.ts";
import { fresh } from "./metadata-subject.ts";

export const SESSION_MS = 10_000;
export const REBALANCE_MS = 30_000;

export interface GroupPlayerOptions {
  readonly group: string;
  readonly memberId: string;
  readonly topics: readonly string[];
  readonly instanceId?: string;
  readonly sessionTimeoutMs?: number;
}

const keyOf = (it: { readonly topicId: string; readonly partition: number }) =>
  `${it.topicId}/${it.partition}`;

export class GroupPlayer {
  readonly memberId: string;
  readonly #metadata: Pick<MetadataStore, "heartbeat" | "leaveGroup">;
  readonly #options: GroupPlayerOptions;
  topics: readonly string[];
  epoch = 0;
  /** What it has been told it has, and has not let go of. */
  owned: readonly MemberPartition[] = [];
  /** Of these, what it is to let go of. */
  toLetGo: readonly MemberPartition[] = [];

  constructor(
    metadata: Pick<MetadataStore, "heartbeat" | "leaveGroup">,
    options: GroupPlayerOptions,
  ) {
    this.#metadata = metadata;
    this.#options = options;
    this.memberId = options.memberId;
    this.topics = options.topics;
  }

  get input(): HeartbeatInput {
    const { group, memberId, instanceId = "", sessionTimeoutMs = SESSION_MS } = this.#options;
    return {
      ...{ group, memberId, instanceId, sessionTimeoutMs, rebalanceTimeoutMs: REBALANCE_MS },
      ...{ clientId: `client of ${memberId}`, memberEpoch: this.epoch },
      topics: this.topics,
      owned: this.owned,
    };
  }

  /** One heartbeat, as it is. */
  async beat(): Promise<HeartbeatResult> {
    return this.take(await this.#metadata.heartbeat(this.input));
  }

  /** Heard an answer. */
  take(result: HeartbeatResult): HeartbeatResult {
    const assigned = new Set(result.assigned.map(keyOf));
    const kept = this.epoch === 0 ? [] : this.owned;
    this.toLetGo = kept.filter((it) => !assigned.has(keyOf(it)));
    this.owned = [...result.assigned, ...this.toLetGo];
    this.epoch = result.memberEpoch;
    return result;
  }

  letGo(): void {
    const gone = new Set(this.toLetGo.map(keyOf));
    this.owned = this.owned.filter((it) => !gone.has(keyOf(it)));
    this.toLetGo = [];
  }

  /** Forgets all, as after its session ended. */
  reset(): void {
    this.epoch = 0;
    this.owned = [];
    this.toLetGo = [];
  }

  async leave(keepPlace = false): Promise<void> {
    const { group, memberId } = this.#options;
    await this.#metadata.leaveGroup(group, memberId, { keepPlace, memberEpoch: this.epoch });
    this.reset();
  }

  /** `topic/partition` of what it has and is not to let go of. */
  get names(): readonly string[] {
    const going = new Set(this.toLetGo.map(keyOf));
    return this.owned
      .filter((it) => !going.has(keyOf(it)))
      .map((it) => `${it.topic}/${it.partition}`);
  }
}

/** Everybody beats and lets go until nothing moves any more. */
export async function settle(players: readonly GroupPlayer[]): Promise<void> {
  for (let round = 0; round < 20; round++) {
    let moving = false;
    for (const it of players) {
      const before = `${it.epoch} ${it.names.join()}`;
      const { awaited, revoking } = await it.beat();
      it.letGo();
      moving ||= awaited > 0 || revoking.length > 0 || before !== `${it.epoch} ${it.names.join()}`;
    }
    if (!moving) return;
  }
  throw new Error("the group does not come to rest");
}

/** What a test of one group works with. */
export interface GroupStage {
  readonly group: string;
  readonly topic: Topic;
  readonly player: (
    memberId: string,
    instanceId?: string,
    topics?: readonly string[],
  ) => GroupPlayer;
}

/** A new topic and a new group. */
export async function stageOf(metadata: MetadataStore, partitions: number): Promise<GroupStage> {
  const group = fresh("group");
  const topic = await metadata.createTopic({ name: fresh("topic"), partitions, retentionMs: 0 });
  const player = (memberId: string, instanceId = "", topics: readonly string[] = [topic.name]) =>
    new GroupPlayer(metadata, { group, memberId, instanceId, topics });
  return { group, topic, player };
}
