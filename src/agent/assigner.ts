/**
 * Which live agent should hold which partition: rendezvous (highest random weight) hashing, so that an agent that comes or goes
 * moves its own share and no other. Pure: every agent computes the same from the same runs. Called by the lease manager.
 * D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates", 1998.
 */
import type { TopicPartition } from "../core/topic.ts";
import type { AgentRun } from "../metadata/metadata-store.ts";

type Candidate = Pick<AgentRun, "runId" | "agentId">;

/**
 * The partitions that `runId` should hold. Weights hang on the agent's id, so that a restarted agent gets its old
 * partitions back; of two runs with one agent id the later run (greater ULID) wins.
 */
export function partitionsOf(
  runId: string,
  runs: readonly Candidate[],
  partitions: readonly TopicPartition[],
): readonly TopicPartition[] {
  const candidates = runs.map((run) => ({ runId: run.runId, hash: hashText(run.agentId) }));
  if (candidates.length === 1 && candidates[0]?.runId === runId) return partitions;
  return partitions.filter((it) => {
    const hash = hashText(it.topicId) ^ Math.imul(it.partition + 1, 0x9e3779b1);
    let best: { readonly runId: string; readonly weight: number } | undefined;
    for (const candidate of candidates) {
      const weight = mix(candidate.hash ^ mix(hash));
      const wins =
        best === undefined ||
        weight > best.weight ||
        (weight === best.weight && candidate.runId > best.runId);
      if (wins) best = { runId: candidate.runId, weight };
    }
    return best?.runId === runId;
  });
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
