/**
 * The same measurements of every system: many records, one awaited record at a time, reading all, latency at a fixed rate. Figures
 * that lose are as much part of the answer as those that win.
 */

import type { Contender } from "../contender.ts";
import { latencyRound } from "../latency.ts";
import type { Scratch } from "../paths.ts";
import { SEND_BATCH_RECORDS } from "../produce.ts";
import type { BenchSettings } from "../settings.ts";
import { Shared } from "../shared.ts";
import { secondsOf } from "../stopwatch.ts";
import type { Workload } from "../workload.ts";
import type { Peer, PeerSetup } from "./peer.ts";

/** One server for all contenders that use it. */
export class SharedPeer extends Shared<Peer> {
  readonly name: string;
  readonly note: string;

  constructor(name: string, note: string, open: () => Promise<Peer>) {
    super(open);
    this.name = name;
    this.note = note;
  }

  static of(setup: PeerSetup, scratch: Scratch): SharedPeer {
    return new SharedPeer(setup.name, setup.note, () => setup.open(scratch.folder(setup.name)));
  }
}

interface Measured {
  readonly figure: string;
  readonly unit: Contender["unit"];
  readonly limits?: readonly string[];
  readonly what: string;
  /** Made before the first round. */
  readonly topic?: (peer: Peer, topic: string) => Promise<void>;
  round(peer: Peer, topic: string): ReturnType<Contender["round"]>;
}

/** `figure@system`, or the figure's name alone for StreamHouse's own row. */
function contender(shared: SharedPeer, settings: BenchSettings, measured: Measured): Contender {
  const own = shared.name === "streamhouse";
  let peer: Peer | undefined;
  return {
    name: own ? measured.figure : `${measured.figure}@${shared.name}`,
    unit: measured.unit,
    limits: measured.limits ?? [],
    note: `${measured.what}; ${shared.note}`,
    async prepare() {
      peer = await shared.enter();
      await peer.createTopic(measured.figure, settings.partitions);
      await measured.topic?.(peer, measured.figure);
    },
    round() {
      if (peer === undefined) throw new Error("round() before prepare()");
      return measured.round(peer, measured.figure);
    },
    close: () => shared.leave(),
  };
}

/** As `grpc-produce`: as many records as the client can have under way. */
export function produceOf(
  shared: SharedPeer,
  settings: BenchSettings,
  workload: Workload,
): Contender {
  const chunks = chunksOf(workload, settings.recordsPerRound);
  return contender(shared, settings, {
    figure: "grpc-produce",
    unit: "records/s",
    what: "as many records under way as its client takes",
    round: async (peer, topic) => {
      const seconds = await secondsOf(() => peer.sendMany(topic, chunks));
      return perSecond(settings.recordsPerRound, seconds, workload.valueBytes);
    },
  });
}

/** As `consume`: all records of a topic, from the start. */
export function consumeOf(
  shared: SharedPeer,
  settings: BenchSettings,
  workload: Workload,
): Contender {
  const count = settings.recordsPerRound;
  return contender(shared, settings, {
    figure: "consume",
    unit: "records/s",
    what: "every record of a topic from its start, by a new reader",
    topic: (peer, topic) => peer.sendMany(topic, chunksOf(workload, count)),
    round: async (peer, topic) => {
      let bytes = 0;
      const seconds = await secondsOf(async () => {
        bytes = await peer.readAll(topic, count);
      });
      if (bytes < count * workload.valueBytes) throw new Error(`${bytes} bytes were read`);
      return perSecond(count, seconds, workload.valueBytes);
    },
  });
}

/** One send at a time, each awaited: what a caller without concurrency gets. */
export function singleOf(
  shared: SharedPeer,
  settings: BenchSettings,
  workload: Workload,
  figure: string = ONE_BY_ONE,
): Contender {
  const { singleSends } = settings.peers;
  return contender(shared, settings, {
    figure,
    unit: "records/s",
    limits: limitsOf(shared, ONE_BY_ONE),
    what: "one record at a time, each awaited",
    round: async (peer, topic) => {
      const seconds = await secondsOf(async () => {
        for (let i = 0; i < singleSends; i++) {
          await peer.sendOne(topic, workload.values[i % workload.values.length] as Uint8Array);
        }
      });
      return perSecond(singleSends, seconds, workload.valueBytes);
    },
  });
}

/** From the moment a record is due to its delivery, at 10,000 records a second. */
export function latencyOf(
  shared: SharedPeer,
  settings: BenchSettings,
  figure: string = LATENCY,
): Contender {
  const { latencySeconds: seconds } = settings.peers;
  const valueBytes = settings.valueBytes;
  return contender(shared, settings, {
    figure,
    unit: "ms",
    limits: limitsOf(shared, LATENCY),
    what: `median over ${seconds} s of 10,000 records a second, from the moment it was due to delivery`,
    round: (peer, topic) => latencyRound(peer, topic, { seconds, valueBytes }),
  });
}

const ONE_BY_ONE = "produce-one-by-one";
const LATENCY = "latency-10k";

/** StreamHouse's rows are compared with the others' of the same figure, at whatever setting they are. */
function limitsOf(shared: SharedPeer, figure: string): readonly string[] {
  return shared.name === "streamhouse" ? PEER_NAMES.map((it) => `${figure}@${it}`) : [];
}

/** Every system that may be compared with; those that a machine lacks have no samples. */
export const PEER_NAMES: readonly string[] = [
  "nats-jetstream",
  "nats-jetstream-sync",
  "redis-everysec",
  "redis-always",
  "kafka-platformatic",
  "kafka-platformatic-sync",
  "kafka-kafkajs",
];

function perSecond(count: number, seconds: number, bytes: number) {
  return { value: count / seconds, bytesPerSecond: (count * bytes) / seconds };
}

function chunksOf(workload: Workload, count: number): readonly (readonly Uint8Array[])[] {
  const { values } = workload;
  return Array.from({ length: Math.ceil(count / SEND_BATCH_RECORDS) }, (_, chunk) =>
    Array.from(
      { length: Math.min(SEND_BATCH_RECORDS, count - chunk * SEND_BATCH_RECORDS) },
      (_, i) => values[(chunk * SEND_BATCH_RECORDS + i) % values.length] as Uint8Array,
    ),
  );
}
