/** The rooms of one agent, made and wired. No logic of its own. Called by `createAgent`. */
import type { Clock } from "../core/clock.ts";
import type { StreamHouseError } from "../core/errors.ts";
import type { RandomBytes } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { AgentApi } from "../rpc/agent-api.ts";
import { createCachingStore } from "../storage/caching.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { SegmentSink } from "../storage/segment-sink.ts";
import type { Telemetry, TelemetryOptions } from "../telemetry/telemetry.ts";
import { type AccessControl, createAccessControl } from "./access.ts";
import { Admin } from "./admin.ts";
import { createAgentAudit } from "./agent-audit.ts";
import { AgentInstruments, type ObservedTopic } from "./agent-instruments.ts";
import { AppendGate } from "./append-gate.ts";
import { Balancer } from "./balancer.ts";
import { BatchReader } from "./batch-reader.ts";
import { BatchSettler } from "./batch-settler.ts";
import { ByteBudget } from "./byte-budget.ts";
import { ClusterView } from "./cluster-view.ts";
import { CompactionInstruments } from "./compaction-instruments.ts";
import { Fetcher } from "./fetcher.ts";
import type { Flush } from "./flush.ts";
import { FlushBuffer } from "./flush-buffer.ts";
import { FlushCommitter } from "./flush-committer.ts";
import { FlushTracer } from "./flush-tracer.ts";
import { Flusher } from "./flusher.ts";
import { Groups } from "./groups.ts";
import { Holdings } from "./holdings.ts";
import { Keys } from "./keys.ts";
import { LagGauges } from "./lag-gauges.ts";
import { LagMonitor } from "./lag-monitor.ts";
import { LateCommits } from "./late-commits.ts";
import { LeaseManager } from "./lease-manager.ts";
import { LeaseProof } from "./lease-proof.ts";
import { LoadMeter, type LoadTotals } from "./load-meter.ts";
import { LogFollower } from "./log-follower.ts";
import { type IndexedFlush, LogIndex } from "./log-index.ts";
import { measuredPorts } from "./measured-ports.ts";
import { Merger } from "./merger.ts";
import type { ResolvedAgentOptions } from "./options.ts";
import { PartitionFinder } from "./partition-finder.ts";
import { ProduceService } from "./produce-service.ts";
import { Reachability } from "./reachability.ts";
import { watchReads } from "./reachable-store.ts";
import { Retention } from "./retention.ts";
import { SegmentReferences } from "./segment-references.ts";
import { createServices } from "./services.ts";
import { ShareReader } from "./share-reader.ts";
import { StoreProbe } from "./store-probe.ts";
import { Sweeper } from "./sweeper.ts";
import { TailCache } from "./tail-cache.ts";
import { Topics } from "./topics.ts";
import { WaitingRoom } from "./waiting-room.ts";
import { WriteLedger } from "./write-ledger.ts";

/** What an agent is made from. Whoever made them closes them, after the agent's `stop()`. */
export interface AgentComponents {
  readonly metadata: MetadataStore;
  readonly store: ObjectStore;
  readonly sink: SegmentSink;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly telemetry: TelemetryOptions | false;
}

/** What the rooms need of the agent they belong to. */
export interface AgentSelf {
  readonly agentId: string;
  readonly runId: string;
  readonly telemetry: Telemetry;
  readonly refusal: () => StreamHouseError | undefined;
  readonly sweep: () => void;
}

/** What the agent's life deals with. */
export interface AgentRooms {
  readonly api: AgentApi;
  readonly access: AccessControl;
  readonly leases: LeaseManager;
  readonly flusher: Flusher;
  readonly gate: AppendGate;
  readonly topics: Topics;
  readonly index: LogIndex;
  readonly follower: LogFollower;
  readonly waiting: WaitingRoom;
  readonly lag: LagMonitor;
  readonly groups: Groups;
  readonly retention: Retention;
  readonly merger: Merger;
  readonly sweeper: Sweeper;
  readonly metadataReachability: Reachability;
  readonly storeProbe: StoreProbe;
  /** Sets the instruments that are only looked at when somebody collects. */
  readonly observe: () => void;
}

export function buildRooms(
  components: AgentComponents,
  options: ResolvedAgentOptions,
  self: AgentSelf,
): AgentRooms {
  const { clock, logger, random } = components;
  const { telemetry } = self;
  const ledger = new WriteLedger();
  const metadataReachability = new Reachability(clock);
  const [reads, writes] = [new Reachability(clock), new Reachability(clock)];
  const storeProbe = new StoreProbe({
    ...{ store: components.store, metadata: components.metadata },
    ...{ reads, writes, clock, random },
  });
  const { metadata, sink, store: direct } = measuredPorts(components, telemetry, ledger);
  const store = createCachingStore(
    { store: watchReads(direct, reads), metrics: telemetry.metrics },
    { cacheBytesMax: options.readCacheBytesMax, readsMax: options.storeReadsMax },
  );
  const instruments = new AgentInstruments(telemetry.metrics);
  const topics = new Topics({ metadata, clock, reachability: metadataReachability });
  const segments = new SegmentReferences();
  const found = (flush: IndexedFlush) => late.found(flush);
  const index: LogIndex = new LogIndex({ metadata, segments, found });
  const isIndexed = (runId: string, sequence: number) => index.isApplied(runId, sequence);
  const late = new LateCommits({ ledger, isIndexed });
  const tail = new TailCache(options.tailCacheBytesMax, instruments.tailCache.evictions);
  const buffer = new FlushBuffer();
  const budget = new ByteBudget(options.bufferBytesMax);
  const settler = new BatchSettler({ buffer, budget, tail, ledger, instruments, clock });
  const shared = { metadata, clock, logger, reachability: metadataReachability };

  const holdings = new Holdings({ ...shared, index, instruments, ledger });
  const view = new ClusterView(shared);
  const refusedMs = options.leaseRenewMs;
  const balancer = new Balancer({ ...shared, topics, index, holdings, view, refusedMs });
  const load = new LoadMeter(clock, () => loadTotals(ledger, instruments, flusher.sealed));
  const leases: LeaseManager = new LeaseManager(
    { ...shared, holdings, balancer, view, load, instruments, random },
    options,
    self,
    {
      runBegan: (runId) => index.beginRun(runId),
      lost: (holds) => {
        for (const hold of holds) tail.drop(hold.topicId, hold.partition);
        flusher.partitionsLost(holds);
      },
    },
  );
  balancer.followRun(() => leases.runId);
  topics.onGone((gone) => {
    leases.topicsGone(gone);
    index.dropTopics((topicId) => gone.has(topicId));
  });

  const committer = new FlushCommitter({ ...shared, random });
  const tracer = new FlushTracer(telemetry);
  const flusher: Flusher = new Flusher(
    {
      ...{ sink, buffer, settler, committer, late, index, segments, instruments, tracer },
      ...{ storeReachability: writes, lease: leases, clock, random, logger },
    },
    options,
  );
  const proof = new LeaseProof(shared);
  const gate = new AppendGate({
    ...{ holdings, view, lease: leases, proof, flusher, settler, budget, clock },
  });

  const holds = (topicId: string, partition: number) =>
    holdings.get(topicId, partition) !== undefined;
  const reader = new ShareReader(store);
  const follower = new LogFollower(
    { metadata, index, instruments, clock, reachability: metadataReachability },
    options,
  );
  const finder = new PartitionFinder({
    ...{ topics, index, follower, clock },
    holds: (topicId, partition) => leases.isValid() && holds(topicId, partition),
  });
  const waiting = new WaitingRoom(clock);
  const groups = new Groups({ metadata, clock, logger, instruments }, options);
  const gauges = new LagGauges(telemetry.metrics);
  const lag = new LagMonitor({ metadata, index, topics, gauges, holds, clock });
  const compaction = new CompactionInstruments(telemetry.metrics);
  const upkeep = { metadata, store, holdings, index, segments, clock, random, logger };
  const runId = () => leases.runId;
  const retention = new Retention({ ...upkeep, topics, instruments, compaction }, options);
  const merger = new Merger({ ...upkeep, instruments: compaction, runId }, options);
  const sweeper = new Sweeper({ ...upkeep, instruments: compaction, runId }, options);
  const keys = new Keys({ metadata, random, logger, changed: () => access.keysChanged() });
  const api = createServices({
    ...{ metadata, groups, keys, lag, telemetry, metadataReachability },
    refusal: self.refusal,
    produce: new ProduceService({ gate, topics, clock, telemetry }, options),
    fetcher: new Fetcher({
      ...{ finder, follower, waiting, instruments, clock },
      holderAddress: (topicId, partition) =>
        leases.isValid() ? view.whereIs({ topicId, partition }).address : "",
      reader: new BatchReader({ finder, tail, reader, instruments }),
      checkMember: (request) => groups.checkFetch(request),
    }),
    offsets: { finder, reader },
    admin: new Admin({
      ...{ metadata, topics },
      runId: () => leases.runId,
      assign: () => leases.assign(),
      sweep: self.sweep,
    }),
  });
  const access = createAccessControl({ api, metadata, topics, clock, logger, telemetry });
  const sealed = () => flusher.sealed;
  const audit = createAgentAudit({
    ...{ metrics: telemetry.metrics, ledger, holdings, buffer, index, lag, sealed },
  });
  return {
    ...{
      api,
      access,
      leases,
      flusher,
      gate,
      topics,
      index,
      follower,
      waiting,
      lag,
      groups,
      retention,
      merger,
      sweeper,
    },
    ...{ metadataReachability, storeProbe },
    observe: () => {
      instruments.observe(heldTopics(holdings, topics), budget.used);
      instruments.tailCache.bytes.set(tail.bytes);
      const { shares, unmerged } = index.census();
      compaction.indexed(shares, unmerged);
      lag.observe();
      audit.check();
    },
  };
}

function loadTotals(
  ledger: WriteLedger,
  instruments: AgentInstruments,
  sealed: readonly Flush[],
): LoadTotals {
  const sum = (by: ReadonlyMap<string, number>) =>
    [...by.values()].reduce((all, it) => all + it, 0);
  return {
    recordsIn: sum(ledger.advanced(sealed)),
    bytesIn: sum(ledger.bytes),
    bytesOut: instruments.bytesOut,
    flushes: ledger.flushes,
  };
}

function* heldTopics(
  holdings: Holdings,
  topics: Topics,
): Generator<ObservedTopic, void, undefined> {
  for (const { topic, topicId } of holdings) {
    yield { topic, retentionMs: topics.byId(topicId)?.retentionMs ?? 0 };
  }
}
