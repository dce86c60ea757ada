/**
 * What happens when, from the seed alone: the same seed and settings give the same faults on the same targets at the same times. Pure.
 * Not determined by the seed: how far programs are when a fault meets them, what the operating system runs first, ids and ports.
 */
import { type FaultKind, faultKinds, faultNames, type Lane, lanes } from "./fault-kinds.ts";
import { createSeeded, type Seeded } from "./seeded.ts";

export interface Fault {
  readonly kind: FaultKind;
  /** Counted from the first agent, producer or consumer; 0 for faults that hit all. */
  readonly target: number;
  /** From the begin of the faults. One that waits for something delays those behind it in its lane. */
  readonly atMs: number;
  readonly lastsMs: number;
  /** For what a fault does inside itself; the same for the same seed. */
  readonly seed: number;
}

export interface ScheduleSettings {
  readonly seed: number;
  /** `short`: each fault once, brief. `long`: for the given time, each as often as the others. */
  readonly profile: "short" | "long";
  readonly durationMs: number;
  readonly agents: number;
  readonly producers: number;
  readonly consumers: number;
  /** Of shared groups. */
  readonly members: number;
}

/** Of a lane, so that things recover in between and meet the next fault in a new state. */
const gapMs: Readonly<Record<ScheduleSettings["profile"], readonly [number, number]>> = {
  short: [150, 400],
  long: [500, 4_000],
};

/** Sorted by time; at most one at a time of each lane. */
export function createSchedule(settings: ScheduleSettings): readonly Fault[] {
  const faults = lanes.map((lane) => laneOf(lane, settings));
  return faults.flat().sort((a, b) => a.atMs - b.atMs || a.kind.localeCompare(b.kind));
}

function laneOf(lane: Lane, settings: ScheduleSettings): Fault[] {
  const random = createSeeded(settings.seed, `schedule/${lane}`);
  const kinds = faultNames.filter((it) => faultKinds[it].lane === lane);
  const faults: Fault[] = [];
  let atMs = 0;
  for (;;) {
    for (const kind of random.shuffled(kinds)) {
      atMs += random.between(...gapMs[settings.profile]);
      const fault = drawFault(kind, atMs, settings, random);
      if (settings.profile === "long" && atMs + fault.lastsMs > settings.durationMs) return faults;
      faults.push(fault);
      atMs += fault.lastsMs;
    }
    if (settings.profile === "short") return faults;
  }
}

function drawFault(
  kind: FaultKind,
  atMs: number,
  settings: ScheduleSettings,
  random: Seeded,
): Fault {
  const { lastsMs, scope } = faultKinds[kind];
  const counts = {
    agent: settings.agents,
    producer: settings.producers,
    consumer: settings.consumers,
    member: settings.members,
    all: 1,
  };
  const [from, to] = lastsMs;
  // The longest of the short profile is not much more than the shortest.
  const most = settings.profile === "short" ? Math.min(to, from + 800) : to;
  return {
    kind,
    atMs,
    target: random.between(0, counts[scope] - 1),
    lastsMs: random.between(from, most),
    seed: random.between(1, 2_147_483_647),
  };
}
