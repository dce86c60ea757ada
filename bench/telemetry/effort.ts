/**
 * What some work took: processor time of the whole process (all threads, so the garbage collector's
 * too), and time on the wall. On a machine that does other things the first is the one to trust.
 */
export interface Effort {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
}

export async function effortOf(work: () => Promise<unknown> | unknown): Promise<Effort> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const wallSeconds = (performance.now() - start) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  return { cpuSeconds: (user + system) / 1e6, wallSeconds };
}

export function sumOf(efforts: readonly Effort[]): Effort {
  return {
    cpuSeconds: efforts.reduce((sum, it) => sum + it.cpuSeconds, 0),
    wallSeconds: efforts.reduce((sum, it) => sum + it.wallSeconds, 0),
  };
}
