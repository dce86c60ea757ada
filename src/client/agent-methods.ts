/** The names of `AgentApi`'s methods, for rooms that treat all of them alike. The compiler checks that none is missing. */
import type { AgentApi } from "../rpc/agent-api.ts";

const methods: Readonly<Record<keyof AgentApi, true>> = {
  initProducer: true,
  produce: true,
  fetch: true,
  listOffsets: true,
  heartbeat: true,
  leave: true,
  commitOffsets: true,
  fetchOffsets: true,
  listGroups: true,
  describeGroup: true,
  deleteGroup: true,
  createTopic: true,
  deleteTopic: true,
  listTopics: true,
  describeTopic: true,
  alterTopic: true,
  describeCluster: true,
  createKey: true,
  listKeys: true,
  revokeKey: true,
};

export const agentMethods: readonly (keyof AgentApi)[] = Object.keys(methods) as (keyof AgentApi)[];
