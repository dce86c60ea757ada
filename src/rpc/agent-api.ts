/**
 * The seam between clients and agents: one method for each call of `proto/`, on the generated message types.
 * Implemented by the agent (`agent/services.ts`) and by the gRPC connection (`client/grpc-transport.ts`);
 * an embedded client calls the agent directly, through the same interface. Every method rejects with
 * `StreamHouseError` only.
 */
import type {
  AlterTopicRequest,
  AlterTopicResponse,
  CreateKeyRequest,
  CreateKeyResponse,
  CreateTopicRequest,
  CreateTopicResponse,
  DeleteTopicRequest,
  DeleteTopicResponse,
  DescribeClusterRequest,
  DescribeClusterResponse,
  DescribeTopicRequest,
  DescribeTopicResponse,
  ListKeysRequest,
  ListKeysResponse,
  ListTopicsRequest,
  ListTopicsResponse,
  RevokeKeyRequest,
  RevokeKeyResponse,
} from "./gen/streamhouse/v1/admin.ts";
import type {
  FetchRequest,
  FetchResponse,
  ListOffsetsRequest,
  ListOffsetsResponse,
} from "./gen/streamhouse/v1/consumer.ts";
import type {
  CommitOffsetsRequest,
  CommitOffsetsResponse,
  DeleteGroupRequest,
  DeleteGroupResponse,
  DescribeGroupRequest,
  DescribeGroupResponse,
  FetchOffsetsRequest,
  FetchOffsetsResponse,
  HeartbeatRequest,
  HeartbeatResponse,
  LeaveRequest,
  LeaveResponse,
  ListGroupsRequest,
  ListGroupsResponse,
} from "./gen/streamhouse/v1/group.ts";
import type {
  InitProducerRequest,
  InitProducerResponse,
  ProduceRequest,
  ProduceResponse,
} from "./gen/streamhouse/v1/producer.ts";

/** What travels beside a request. */
export interface CallContext {
  /** Aborts when the caller no longer wants the answer. */
  readonly signal?: AbortSignal | undefined;
  /** Deadline for the answer, counted from the call. Clients always set one. */
  readonly timeoutMs?: number | undefined;
  /** W3C trace context of the caller. */
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
  /** What the caller shows to be let in: the call's `authorization`, as it came. Never in a log, a span or an error. */
  readonly credential?: string | undefined;
  /** The public id of the key that the caller showed, once it was found good. For logs. */
  readonly keyId?: string | undefined;
}

/** All that an agent does for clients, a method for each call of `proto/`. Every method rejects with a StreamHouseError only. */
export interface AgentApi {
  initProducer(request: InitProducerRequest, call: CallContext): Promise<InitProducerResponse>;
  /**
   * Batches of one call are applied in order, and calls in the order in which they were made (over gRPC:
   * on a `ProduceChannel`). Rejects if the request as a whole was refused; a batch that failed later has `error` in its result.
   * The batches' bytes are handed over: the agent writes offset and epoch into them and keeps them. It makes the
   * `ProducerService.produce` span itself, from the call's trace context, whichever way the call came.
   */
  produce(request: ProduceRequest, call: CallContext): Promise<ProduceResponse>;
  fetch(request: FetchRequest, call: CallContext): Promise<FetchResponse>;
  listOffsets(request: ListOffsetsRequest, call: CallContext): Promise<ListOffsetsResponse>;
  heartbeat(request: HeartbeatRequest, call: CallContext): Promise<HeartbeatResponse>;
  leave(request: LeaveRequest, call: CallContext): Promise<LeaveResponse>;
  commitOffsets(request: CommitOffsetsRequest, call: CallContext): Promise<CommitOffsetsResponse>;
  fetchOffsets(request: FetchOffsetsRequest, call: CallContext): Promise<FetchOffsetsResponse>;
  listGroups(request: ListGroupsRequest, call: CallContext): Promise<ListGroupsResponse>;
  describeGroup(request: DescribeGroupRequest, call: CallContext): Promise<DescribeGroupResponse>;
  deleteGroup(request: DeleteGroupRequest, call: CallContext): Promise<DeleteGroupResponse>;
  createTopic(request: CreateTopicRequest, call: CallContext): Promise<CreateTopicResponse>;
  deleteTopic(request: DeleteTopicRequest, call: CallContext): Promise<DeleteTopicResponse>;
  listTopics(request: ListTopicsRequest, call: CallContext): Promise<ListTopicsResponse>;
  describeTopic(request: DescribeTopicRequest, call: CallContext): Promise<DescribeTopicResponse>;
  alterTopic(request: AlterTopicRequest, call: CallContext): Promise<AlterTopicResponse>;
  describeCluster(
    request: DescribeClusterRequest,
    call: CallContext,
  ): Promise<DescribeClusterResponse>;
  createKey(request: CreateKeyRequest, call: CallContext): Promise<CreateKeyResponse>;
  listKeys(request: ListKeysRequest, call: CallContext): Promise<ListKeysResponse>;
  revokeKey(request: RevokeKeyRequest, call: CallContext): Promise<RevokeKeyResponse>;
}
