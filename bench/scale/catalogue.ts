/** The phases about scale: measured only when they are named, because they start PostgreSQL and radosgw. */
import type { Phase } from "../catalogue.ts";
import type { BenchSettings } from "../settings.ts";
import type { Workload } from "../workload.ts";
import { sharedBackends } from "./cluster.ts";
import { costContenders } from "./cost.ts";
import { fleetContenders, SharedFleet } from "./figures.ts";
import { groupContenders } from "./groups.ts";

/** What is measured of which fleet: agents, partitions. */
const fleets = [
  // Idle ones by themselves: a process that was busy once keeps memory that it does not need.
  { agents: 1, partitions: 1_000, only: ["idle"] },
  { agents: 2, partitions: 1_000, only: ["idle"] },
  { agents: 3, partitions: 1_000, only: ["idle"] },
  { agents: 1, partitions: 10_000, only: ["idle"] },
  { agents: 2, partitions: 10_000, only: ["idle"] },
  { agents: 3, partitions: 10_000, only: ["idle"] },
  { agents: 1, partitions: 1, only: ["produce"] },
  { agents: 1, partitions: 100, only: ["produce"] },
  { agents: 1, partitions: 1_000, only: ["produce", "join"] },
  { agents: 2, partitions: 1_000, only: ["produce", "join", "leave", "kill"] },
  { agents: 3, partitions: 1_000, only: ["produce"] },
  { agents: 1, partitions: 10_000, only: ["produce", "join"] },
  { agents: 2, partitions: 10_000, only: ["produce", "join", "leave", "kill"] },
  { agents: 3, partitions: 10_000, only: ["produce"] },
] as const;

/** Consumer groups: how many, members of each, partitions. */
const groups = [
  { groups: 1, members: 100, partitions: 1_000 },
  { groups: 1, members: 500, partitions: 1_000 },
  { groups: 100, members: 5, partitions: 1_000 },
] as const;

export function scalePhases(settings: BenchSettings, workload: Workload): readonly Phase[] {
  const { scale } = settings;
  const backends = sharedBackends();
  const rounds = { rounds: scale.rounds, warmUpRounds: 0, onlyByName: true };
  return [
    ...fleets.map(({ agents, partitions, only }) => {
      const shared = new SharedFleet(backends, { agents, partitions });
      return { ...rounds, contenders: fleetContenders(scale, workload, shared, only) };
    }),
    ...groups.map((it) => ({ ...rounds, contenders: groupContenders(scale, it) })),
    { ...rounds, contenders: costContenders(scale, workload, backends) },
  ];
}
