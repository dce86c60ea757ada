/** Every fault that a chaos run can inject, what it hits, and how long it lasts. Read by the schedule, `--list`, and the injector. */

export const lanes = ["life", "world", "groups"] as const;
export type Lane = (typeof lanes)[number];

/** What a fault hits: one agent (or its way to a server), one client program, or everybody at once. */
export type FaultScope = "agent" | "producer" | "consumer" | "member" | "all";

export interface FaultKindSpec {
  readonly scope: FaultScope;
  /** One sentence for `--list`. */
  readonly does: string;
  /** How long it lasts, ms: from, to. The injector may wait longer for what it must see. */
  readonly lastsMs: readonly [number, number];
  /**
   * Lanes never have two faults at once: `life` is what happens to agents' processes, `world` what happens around them, `groups` what
   * happens to members of shared groups.
   */
  readonly lane: Lane;
}

/** Lease time of the agents, the product's default. */
export const leaseTtlMs = 10_000;

/** How long a member of a shared group may be silent: short, so that a run sees many sessions end. */
export const memberSessionMs = 6_000;

const spec = (
  lane: FaultKindSpec["lane"],
  scope: FaultScope,
  lastsMs: readonly [number, number],
  does: string,
): FaultKindSpec => ({ lane, scope, lastsMs, does });

export type FaultKind =
  | "agentKill"
  | "agentKillCommitted"
  | "agentPauseShort"
  | "agentPauseLong"
  | "agentPauseCommitting"
  | "agentTwin"
  | "agentClock"
  | "rollingRestart"
  | "databaseCut"
  | "databaseSilent"
  | "databaseSlow"
  | "databaseRestart"
  | "storeCut"
  | "storeSilent"
  | "storeSlow"
  | "store503"
  | "store500"
  | "storeTimeout"
  | "storeBroken"
  | "producerKill"
  | "consumerKill"
  | "memberKill"
  | "memberRestart"
  | "memberPauseShort"
  | "memberPauseLong"
  | "memberMore";

export const faultKinds: Readonly<Record<FaultKind, FaultKindSpec>> = {
  agentKill: spec("life", "agent", [200, 3_000], "kill -9 of an agent; started again later"),
  agentKillCommitted: spec(
    "life",
    "agent",
    [200, 3_000],
    "kill -9 of an agent whose commit was applied, before it heard so; started again later",
  ),
  agentPauseShort: spec(
    "life",
    "agent",
    [500, 4_000],
    "SIGSTOP of an agent for less than its lease, then SIGCONT",
  ),
  agentPauseLong: spec(
    "life",
    "agent",
    [leaseTtlMs, leaseTtlMs + 3_000],
    "SIGSTOP of an agent until others have taken its leases over, then SIGCONT",
  ),
  agentPauseCommitting: spec(
    "life",
    "agent",
    [leaseTtlMs, leaseTtlMs + 3_000],
    "the same in the middle of a commit, which reaches the database only after the take-over",
  ),
  agentTwin: spec(
    "life",
    "agent",
    [1_500, 5_000],
    "a second agent with the id of one that runs; ended by SIGTERM or kill -9",
  ),
  agentClock: spec(
    "life",
    "agent",
    [200, 1_500],
    "kill -9, and a new start with a clock that is minutes off and jumps while it runs",
  ),
  rollingRestart: spec("life", "all", [100, 500], "each agent in turn: SIGTERM, then a new start"),
  databaseCut: spec(
    "world",
    "agent",
    [500, 6_000],
    "an agent's connections to the database are reset and refused",
  ),
  databaseSilent: spec(
    "world",
    "agent",
    [500, 6_000],
    "an agent's connections to the database go silent, then break",
  ),
  databaseSlow: spec("world", "agent", [1_000, 6_000], "an agent's way to the database is slow"),
  databaseRestart: spec(
    "world",
    "all",
    [100, 1_500],
    "PostgreSQL stops as in a crash (immediate), and starts again",
  ),
  storeCut: spec("world", "agent", [500, 5_000], "an agent's connections to S3 are reset"),
  storeSilent: spec("world", "agent", [500, 6_000], "an agent's connections to S3 go silent"),
  storeSlow: spec("world", "agent", [1_000, 6_000], "an agent's way to S3 is slow"),
  store503: spec("world", "all", [1_000, 5_000], "S3 answers 503, before or after it did its work"),
  store500: spec("world", "all", [1_000, 5_000], "S3 answers 500, before or after it did its work"),
  storeTimeout: spec("world", "all", [1_000, 5_000], "S3 answers nothing, having worked or not"),
  storeBroken: spec("world", "all", [1_000, 5_000], "S3's answers and uploads break off half-way"),
  producerKill: spec("world", "producer", [100, 1_500], "kill -9 of a producer; another follows"),
  consumerKill: spec("world", "consumer", [100, 1_500], "kill -9 of a consumer; started again"),
  memberKill: spec(
    "groups",
    "member",
    [100, 1_500],
    "kill -9 of a group's member while it processes; started again",
  ),
  memberRestart: spec(
    "groups",
    "member",
    [100, 1_500],
    "a group's member leaves in order, and comes back",
  ),
  memberPauseShort: spec(
    "groups",
    "member",
    [500, 3_000],
    "SIGSTOP of a group's member for less than its session, then SIGCONT",
  ),
  memberPauseLong: spec(
    "groups",
    "member",
    [memberSessionMs, memberSessionMs + 2_000],
    "SIGSTOP of a group's member until others have its partitions; its identity is tried out; SIGCONT",
  ),
  memberMore: spec(
    "groups",
    "all",
    [1_500, 5_000],
    "one more member of a group; ended by SIGTERM or kill -9",
  ),
};

export const faultNames: readonly FaultKind[] = Object.keys(faultKinds) as FaultKind[];
