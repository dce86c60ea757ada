/** A topic as it travels, as the rest of the client knows it. */
import { StreamHouseError } from "../core/errors.ts";
import type { Topic } from "../core/topic.ts";
import type { Topic as TopicMessage } from "../rpc/gen/streamhouse/v1/admin.ts";

/** @throws StreamHouseError `INTERNAL` if the agent left the topic out of its answer */
export function topicOf(message: TopicMessage | undefined): Topic {
  if (message === undefined) {
    throw new StreamHouseError({
      code: "INTERNAL",
      kind: "internal",
      outcome: "unknown",
      message: "the agent's answer has no topic in it: is it as new as this client?",
    });
  }
  return {
    id: message.topicId,
    name: message.name,
    partitions: message.partitions,
    retentionMs: message.retentionMs,
    createdAtMs: message.createdAtMs,
  };
}
