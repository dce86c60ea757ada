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
import { unaryMethods } from "../rpc/methods.ts";
import { grpcStatusName, grpcStatusOf } from "../rpc/status.ts";
import { endCall, startServerSpan } from "../telemetry/rpc-spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Admin } from "./admin.ts";
import type { Fetcher } from "./fetcher.ts";
import { checkDescribe, type Groups } from "./groups.ts";
import type { Keys } from "./keys.ts";
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
  readonly keys: Keys;
  readonly telemetry: Telemetry;
  readonly metadataReachability: Reachability;
  /** Why calls are refused now; undefined while they are not. */
  readonly refusal: () => StreamHouseError | undefined;
}

export function createServices(components: ServicesComponents): AgentApi {
  const { admin, fetcher, groups, keys, lag, metadata, offsets, produce } = components;
  const serve =
    <Q, A>(name: keyof AgentApi, work: (request: Q, call: CallContext) => Promise<A>) =>
    (request: Q, call: CallContext): Promise<A> =>
      serveCall(components, name, call, () => work(request, call));

  return {
    // The produce service has its own span, with what the batches are.
    produce: (request, call) =>
      guard(components, "ProducerService.produce", () => produce.produce(request, call)),
    initProducer: serve("initProducer", (request: InitProducerRequest) =>
      initProducer(metadata, request),
    ),
    fetch: serve("fetch", (request, call) => fetcher.fetch(request, call)),
    listOffsets: serve("listOffsets", (request) => listOffsets(request, offsets)),
    heartbeat: serve("heartbeat", (request) => groups.heartbeat(request)),
    leave: serve("leave", (request) => groups.leave(request)),
    commitOffsets: serve("commitOffsets", (it) => groups.commitOffsets(it)),
    fetchOffsets: serve("fetchOffsets", (it) => groups.fetchOffsets(it)),
    listGroups: serve("listGroups", () => groups.list()),
    describeGroup: serve("describeGroup", async (request) => {
      checkDescribe(request);
      return lag.describe(request);
    }),
    deleteGroup: serve("deleteGroup", (request) => groups.delete(request)),
    createTopic: serve("createTopic", (request) => admin.createTopic(request)),
    deleteTopic: serve("deleteTopic", (request) => admin.deleteTopic(request)),
    listTopics: serve("listTopics", () => admin.listTopics()),
    describeTopic: serve("describeTopic", (it) => admin.describeTopic(it)),
    alterTopic: serve("alterTopic", (request) => admin.alterTopic(request)),
    describeCluster: serve("describeCluster", (it) => admin.describeCluster(it)),
    createKey: serve("createKey", (request, call) => keys.create(request, call)),
    listKeys: serve("listKeys", () => keys.list()),
    revokeKey: serve("revokeKey", (request, call) => keys.revoke(request, call)),
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
  name: keyof AgentApi,
  call: CallContext,
  work: () => Promise<A>,
): Promise<A> {
  const method = unaryMethods[name].path.slice(1);
  // A long poll of a client without a trace would only fill the backend with roots.
  const span = call.traceparent ? startServerSpan(components.telemetry, method, call) : undefined;
  if (span === undefined) return guard(components, method, work);
  try {
    const answer = await guard(components, method, work);
    endCall(span, "server", "OK");
    return answer;
  } catch (thrown) {
    const error = asStreamHouseError(thrown, method);
    endCall(span, "server", grpcStatusName(grpcStatusOf(error)), error);
    throw error;
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
