/** What a client knows of the cluster: topics, and which agent holds which partition. (Implementation: `createCluster`.) */
import type { Topic } from "../core/topic.ts";
import type { AgentConnection } from "./transport.ts";

export interface Cluster {
  /**
   * A topic by name, from the cache (default) or fresh.
   * @throws StreamHouseError `TOPIC_NOT_FOUND`, `AGENT_UNREACHABLE` (naming the addresses tried)
   */
  topic(
    name: string,
    options?: { readonly fresh?: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<Topic>;
  /** The agent that holds the partition's lease; any agent if that is not known. */
  holder(topicId: string, partition: number, signal?: AbortSignal): Promise<AgentConnection>;
  /** Some agent that answers. */
  any(signal?: AbortSignal): Promise<AgentConnection>;
  /** Tells what a call said, so that the next `holder()` or `topic()` asks again or goes elsewhere. */
  note(topicId: string, partition: number, error: unknown): void;
  close(): Promise<void>;
}
