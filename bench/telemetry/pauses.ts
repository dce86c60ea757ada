/**
 * The longest time for which the event loop did nothing else while some work ran. A chain of
 * `setImmediate` takes a turn whenever it may; the work ran in between. Counted in this thread's own
 * processor time where the runtime can tell it (Node 23.9 and later): another program that takes the
 * processor away is no pause of ours.
 */
export interface Pauses {
  readonly longestMs: number;
  /** By the clock on the wall, with whatever else the machine did. */
  readonly longestWallMs: number;
}

interface ThreadUsage {
  threadCpuUsage?(): { readonly user: number; readonly system: number };
}

export async function pausesOf(work: () => Promise<unknown>): Promise<Pauses> {
  let longest = 0;
  let longestWall = 0;
  let last = usedMs();
  let lastWall = performance.now();
  let running = true;
  const look = () => {
    const now = usedMs();
    const wall = performance.now();
    longest = Math.max(longest, now - last);
    longestWall = Math.max(longestWall, wall - lastWall);
    last = now;
    lastWall = wall;
    if (running) setImmediate(look);
  };
  // The first turn starts the clock, before the work's first step.
  await new Promise<void>((resolve) => setImmediate(resolve));
  last = usedMs();
  lastWall = performance.now();
  setImmediate(look);
  await work();
  running = false;
  look();
  return { longestMs: longest, longestWallMs: longestWall };
}

function usedMs(): number {
  // Linux brings a thread's own figure up to date only when the whole process is asked for
  // (thread_group_cputime in kernel/sched/cputime.c); otherwise it is a timer tick old.
  process.cpuUsage();
  const usage = (process as ThreadUsage).threadCpuUsage?.();
  return usage === undefined ? performance.now() : (usage.user + usage.system) / 1_000;
}
