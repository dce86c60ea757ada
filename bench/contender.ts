/**
 * What is measured, and the order in which it is: contenders take turns, round by round, so that
 * whatever else the machine does meets all of them alike. Within a round the order is rotated.
 */

export type Unit =
  | "records/s"
  | "MB/s"
  | "ns"
  | "ms"
  | "s"
  | "bytes"
  | "KiB"
  | "MiB"
  | "ratio"
  | "% CPU"
  | "per second"
  | "USD/h";

/** One measurement. */
export interface Sample {
  readonly value: number;
  /** Encoded bytes moved in each second, where bytes are moved: what ratios are made from. */
  readonly bytesPerSecond?: number | undefined;
  /** What the same measurement says beside it, by name. */
  readonly also?: Readonly<Record<string, number>> | undefined;
}

export interface Contender {
  /**
   * The figure's name; of another system `figure@system`, so that names are unique in a run.
   */
  readonly name: string;
  readonly unit: Unit;
  /** Names of the contenders that are a limit for this one. */
  readonly limits: readonly string[];
  /** Said beside the figure: what exactly was measured. */
  readonly note: string;
  /** Called once, before the first round. */
  prepare?(): Promise<void>;
  round(): Promise<Sample>;
  /** Called once, whatever happened. */
  close?(): Promise<void>;
}

export interface InterleaveOptions {
  readonly rounds: number;
  readonly warmUpRounds: number;
  /** Told of each round before it starts. */
  readonly onRound?: ((round: number, of: number, name: string) => void) | undefined;
}

/** Samples of every contender by name, one for each round that counted. */
export type Samples = ReadonlyMap<string, readonly Sample[]>;

/** Runs all rounds of all contenders. Those that were prepared are closed, also after a failure. */
export async function interleave(
  contenders: readonly Contender[],
  options: InterleaveOptions,
): Promise<Samples> {
  const samples = new Map<string, Sample[]>(contenders.map((it) => [it.name, []]));
  const prepared: Contender[] = [];
  const total = options.warmUpRounds + options.rounds;
  try {
    for (const contender of contenders) {
      prepared.push(contender);
      await contender.prepare?.();
    }
    for (let round = 0; round < total; round++) {
      for (const contender of rotated(contenders, round)) {
        options.onRound?.(round + 1, total, contender.name);
        const sample = await contender.round();
        if (round >= options.warmUpRounds) samples.get(contender.name)?.push(sample);
      }
    }
  } finally {
    await closeAll(prepared);
  }
  return samples;
}

/** Closes each of them, whatever the others do, and then throws the first failure. */
async function closeAll(contenders: readonly Contender[]): Promise<void> {
  const failures: unknown[] = [];
  for (const contender of contenders) {
    try {
      await contender.close?.();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

function rotated<T>(list: readonly T[], by: number): T[] {
  const start = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}
