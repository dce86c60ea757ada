/** Which peers there are on this machine, and which figures they have. */
import type { Contender } from "../contender.ts";
import type { SharedHouse } from "../houses.ts";
import type { Scratch } from "../paths.ts";
import type { BenchSettings } from "../settings.ts";
import type { Workload } from "../workload.ts";
import { consumeOf, latencyOf, PEER_NAMES, produceOf, SharedPeer, singleOf } from "./contenders.ts";
import { kafkaSetup } from "./kafka.ts";
import { natsSetup } from "./nats.ts";
import type { PeerSetup } from "./peer.ts";
import { redisSetup } from "./redis.ts";
import { openStreamHouse } from "./streamhouse.ts";

const setups: readonly PeerSetup[] = [
  natsSetup("default"),
  natsSetup("always"),
  redisSetup("everysec"),
  redisSetup("always"),
  kafkaSetup("platformatic", "default"),
  kafkaSetup("platformatic", "always"),
  kafkaSetup("kafkajs", "default"),
];

/** What the peers add to the phases of the bench. */
export interface PeerContenders {
  /** Interleaved with StreamHouse's own producing and consuming. */
  readonly throughput: readonly Contender[];
  /** StreamHouse's figures that only make sense beside others', and theirs. */
  readonly latency: readonly Contender[];
}

/** The systems that this machine can run; says which it cannot. */
export function runnable(say: (text: string) => void): readonly PeerSetup[] {
  return setups.filter((it) => {
    const why = it.missing?.();
    if (why !== undefined) say(`without ${it.name}: ${why}\n`);
    return why === undefined;
  });
}

export function peerContenders(
  settings: BenchSettings,
  workload: Workload,
  agent: SharedHouse,
  scratch: Scratch,
  peers: readonly PeerSetup[],
): PeerContenders {
  const others = peers.map((it) => SharedPeer.of(it, scratch));
  const note = "agent in its own process, durable acks";
  const own = new SharedPeer("streamhouse", note, () => openStreamHouse(agent));
  const lowest = new SharedPeer("streamhouse", `${note}, lingerMs 0`, () =>
    openStreamHouse(agent, { lingerMs: 0 }),
  );
  return {
    throughput: others.flatMap((it) => [
      produceOf(it, settings, workload),
      consumeOf(it, settings, workload),
    ]),
    latency: [
      singleOf(own, settings, workload),
      singleOf(lowest, settings, workload, "produce-one-by-one-lowest"),
      ...others.map((it) => singleOf(it, settings, workload)),
      latencyOf(own, settings),
      latencyOf(lowest, settings, "latency-10k-lowest"),
      ...others.map((it) => latencyOf(it, settings)),
    ],
  };
}

/** The peers' rows of a figure, as limits that StreamHouse's row is compared with. */
export function peersOf(figure: string): readonly string[] {
  return PEER_NAMES.map((it) => `${figure}@${it}`);
}
