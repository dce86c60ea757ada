/** When every partition has found its agent: seen in the database, so that no agent has to say so. */
import { setTimeout as wait } from "node:timers/promises";
import type { Database, Holders } from "./cluster.ts";

const LOOK_MS = 50;
/** Longer than a round of renewals: what has not moved by then stays where it is. */
const QUIET_MS = 4_000;
const WITHIN_MS = 180_000;

/**
 * Waits until all are held and none has moved for a while. Answers when the last one moved, by `performance.now()`, and how many
 * each run holds. With `but`, none may be left with these runs.
 * @throws Error if that does not come
 */
export async function settled(
  database: Pick<Database, "holders">,
  partitions: number,
  but: ReadonlySet<string> = new Set(),
  quietMs: number = QUIET_MS,
): Promise<{ readonly at: number; readonly byRun: Holders["byRun"] }> {
  const deadline = performance.now() + WITHIN_MS;
  let movedAt = performance.now();
  let before = "";
  for (;;) {
    const { byRun, epochs } = await database.holders();
    const now = performance.now();
    const state = `${epochs} ${[...byRun].sort().join(" ")}`;
    if (state !== before) movedAt = now;
    before = state;
    const counts = [...byRun.values()];
    const held = counts.reduce((sum, it) => sum + it, 0);
    const others = [...byRun.keys()].every((run) => !but.has(run));
    if (held === partitions && others && now - movedAt >= quietMs) return { at: movedAt, byRun };
    if (now > deadline) {
      throw new Error(
        `${held} of ${partitions} partitions are held after ${WITHIN_MS} ms: ${state}`,
      );
    }
    await wait(LOOK_MS);
  }
}
