/**
 * `AgentApi`: one method a call, each handed to the room that does it. Adds what all have in common: refused before the
 * start and after the stop, a server span where the caller has a trace, and no error but StreamHouseError. Called by
 * the gRPC server adapter and by clients in the same process.
 */
import { asStreamHouseError, invalid, type StreamHouseError } from "../core/errors.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import type {
  InitProducerRequest,
  InitProducerResponse,
} from "../rpc/gen/streamhouse/v1/producer.ts";
import { endSpan, startServerSpan } from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Admin } from "./admin.ts";
import type { Fetcher } from "./fetcher.ts";
import { checkDescribe, type Groups } from "./groups.ts";
import type { LagMonitor } from "./lag-monitor.ts";
import { type ListOffsetsComponents, listOffsets } from "./list-offsets.ts";
import type { ProduceService } from "./produce-service.ts";
import type { Reachability } from "./reachability.ts";

export interface ServicesComponents {
  readonly metadata: MetadataStore;
  readonly produce: ProduceService;
  readonly fetcher: Fetcher;
  readonly offsets: ListOffsetsComponents;
  readonly groups: Groups;
  readonly lag: LagMonitor;
  readonly admin: Admin;
  readonly telemetry: Telemetry;
  readonly metadataReachability: Reachability;
  /** Why calls are refused now; undefined while they are not. */
  readonly refusal: () => StreamHouseError | undefined;
}

export function createServices(components: ServicesComponents): AgentApi {
  const { admin, fetcher, groups, lag, metadata, offsets, produce } = components;
  const serve =
    <Q, A>(name: string, work: (request: Q, call: CallContext) => Promise<A>) =>
    (request: Q, call: CallContext): Promise<A> =>
      serveCall(components, name, call, () => work(request, call));

  return {
    // The produce service has its own span, with what the batches are.
    produce: (request, call) =>
      guard(components, "ProducerService.produce", () => produce.produce(request, call)),
    initProducer: serve("ProducerService.init_producer", (request: InitProducerRequest) =>
      initProducer(metadata, request),
    ),
    fetch: serve("ConsumerService.fetch", (request, call) => fetcher.fetch(request, call)),
    listOffsets: serve("ConsumerService.list_offsets", (request) => listOffsets(request, offsets)),
    heartbeat: serve("GroupService.heartbeat", (request) => groups.heartbeat(request)),
    leave: serve("GroupService.leave", (request) => groups.leave(request)),
    commitOffsets: serve("GroupService.commit_offsets", (it) => groups.commitOffsets(it)),
    fetchOffsets: serve("GroupService.fetch_offsets", (it) => groups.fetchOffsets(it)),
    listGroups: serve("GroupService.list_groups", () => groups.list()),
    describeGroup: serve("GroupService.describe_group", async (request) => {
      checkDescribe(request);
      return lag.describe(request);
    }),
    createTopic: serve("AdminService.create_topic", (request) => admin.createTopic(request)),
    deleteTopic: serve("AdminService.delete_topic", (request) => admin.deleteTopic(request)),
    listTopics: serve("AdminService.list_topics", () => admin.listTopics()),
    describeTopic: serve("AdminService.describe_topic", (it) => admin.describeTopic(it)),
    alterTopic: serve("AdminService.alter_topic", (request) => admin.alterTopic(request)),
    describeCluster: serve("AdminService.describe_cluster", () => admin.describeCluster()),
  };
}

/** @throws StreamHouseError `PRODUCER_FENCED`, `UNKNOWN_PRODUCER` */
async function initProducer(
  metadata: MetadataStore,
  request: InitProducerRequest,
): Promise<InitProducerResponse> {
  const { producerId, producerEpoch } = request;
  if (producerId < 0 || producerEpoch < 0) {
    const field = producerId < 0 ? "producer_id" : "producer_epoch";
    throw invalid(
      "INVALID_ARGUMENT",
      `${field} is negative: expected 0 or what InitProducer gave`,
      {
        field,
      },
    );
  }
  return producerId === 0
    ? metadata.allocateProducerId()
    : metadata.bumpProducerEpoch(producerId, producerEpoch);
}

async function serveCall<A>(
  components: ServicesComponents,
  name: string,
  call: CallContext,
  work: () => Promise<A>,
): Promise<A> {
  // A long poll of a client without a trace would only fill the backend with roots.
  const span = call.traceparent ? startServerSpan(components.telemetry, name, call) : undefined;
  let failure: unknown;
  try {
    return await guard(components, name, work);
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    endSpan(span, failure);
  }
}

async function guard<A>(
  components: ServicesComponents,
  name: string,
  work: () => Promise<A>,
): Promise<A> {
  const refusal = components.refusal();
  if (refusal !== undefined) throw refusal;
  try {
    return await work();
  } catch (thrown) {
    const error = asStreamHouseError(thrown, name);
    if (error.code === "METADATA_UNAVAILABLE") components.metadataReachability.failed();
    throw error;
  }
}
