/**
 * Which live agent should hold which partition: rendezvous (highest random weight) hashing, so that an agent that comes or goes
 * moves its own share and no other. Pure: every agent computes the same from the same runs. Called by the cluster view.
 * D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates", 1998.
 */
import type { TopicPartition } from "../core/topic.ts";
import type { AgentRun } from "../metadata/metadata-store.ts";

/** A run that may hold partitions. */
export type Candidate = Pick<AgentRun, "runId" | "agentId" | "startedAtMs">;

/** Answers the run that should hold a partition; undefined if there is no candidate. */
export type OwnerOf = (it: TopicPartition) => string | undefined;

/**
 * Weights hang on the agent's id, so that a restarted agent gets its old partitions back. Of several runs with one agent id the one
 * that started last, by the store's clock, stands for all: the others get nothing for as long as it lives, so nothing goes back and
 * forth between them.
 */
export function createAssigner(runs: readonly Candidate[]): OwnerOf {
  const candidates = latestOfEach(runs).map((it) => ({ ...it, hash: hashText(it.agentId) }));
  if (candidates.length < 2) return () => candidates[0]?.runId;
  let topicId = "";
  let topicHash = 0;
  return (it) => {
    if (it.topicId !== topicId) {
      topicId = it.topicId;
      topicHash = hashText(topicId);
    }
    const hash = mix(topicHash ^ Math.imul(it.partition + 1, 0x9e3779b1));
    let best: { readonly runId: string; readonly agentId: string } | undefined;
    let bestWeight = -1;
    for (const candidate of candidates) {
      const weight = mix(candidate.hash ^ hash);
      // Two ids may have one hash: then their names decide.
      const wins =
        weight > bestWeight ||
        (weight === bestWeight && best !== undefined && candidate.agentId > best.agentId);
      if (!wins) continue;
      best = candidate;
      bestWeight = weight;
    }
    return best?.runId;
  };
}

/** The partitions that `runId` should hold. */
export function partitionsOf(
  runId: string,
  runs: readonly Candidate[],
  partitions: readonly TopicPartition[],
): readonly TopicPartition[] {
  const ownerOf = createAssigner(runs);
  return partitions.filter((it) => ownerOf(it) === runId);
}

function latestOfEach(runs: readonly Candidate[]): readonly Candidate[] {
  const latest = new Map<string, Candidate>();
  for (const run of runs) {
    const other = latest.get(run.agentId);
    if (other === undefined || isLater(run, other)) latest.set(run.agentId, run);
  }
  return [...latest.values()];
}

/** Run ids are made with the agents' own clocks, which may be apart: they decide only where the store's clock does not. */
export function isLater(run: Candidate, other: Candidate): boolean {
  if (run.startedAtMs !== other.startedAtMs) return run.startedAtMs > other.startedAtMs;
  return run.runId > other.runId;
}

/** FNV-1a, 32 bits. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

/** MurmurHash3's finalizer: every input bit changes about half of the output bits. */
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
