/** Whether an agent is ready to be sent work, and if not, why. Pure; answers `GET /ready`. */

/** What an agent says of itself; the agent's own `status()` satisfies it. */
export interface StatusSource {
  status(): {
    readonly phase: "starting" | "standby" | "serving" | "draining" | "stopped";
    readonly activeLeases: number;
    /** It could not renew its run in time, or another agent ended it, and no new one has begun. */
    readonly fenced?: boolean;
    /** How long nothing could be read from metadata; 0 while it answers. */
    readonly metadataDownForMs: number;
    /** The same of the object store. */
    readonly storeDownForMs: number;
  };
}

/** `leases`: the agent must hold one. `standby`: one that has nothing to own is ready too. */
export type ReadinessRule = "leases" | "standby";

export interface Readiness {
  readonly ready: boolean;
  /** Empty when ready. */
  readonly reasons: readonly string[];
  readonly phase?: string;
  readonly activeLeases?: number;
}

/** A store that does not answer for this long takes the agent out; shorter is a hiccup that retries ride out. */
export const unreachableMsMax = 10_000;

/** Without an agent in the process there is nothing to wait for. */
export function readinessOf(agent: StatusSource | undefined, rule: ReadinessRule): Readiness {
  if (agent === undefined) return { ready: true, reasons: [] };
  const status = agent.status();
  const reasons: string[] = [];
  const { phase, activeLeases, fenced = false } = status;
  if (phase !== "serving" && phase !== "standby") reasons.push(`the agent is ${phase}`);
  else if (fenced) reasons.push("the agent's run is over, and no new one has begun");
  else if (activeLeases === 0 && rule === "leases") reasons.push("the agent holds no lease");
  addUnreachable(reasons, "metadata", status.metadataDownForMs);
  addUnreachable(reasons, "the object store", status.storeDownForMs);
  return { ready: reasons.length === 0, reasons, phase, activeLeases };
}

function addUnreachable(reasons: string[], what: string, downForMs: number): void {
  if (downForMs < unreachableMsMax) return;
  reasons.push(`${what} has not answered for ${Math.floor(downForMs / 1_000)} s`);
}
