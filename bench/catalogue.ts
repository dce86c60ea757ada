/**
 * Every figure there is, in the order in which it is printed, and in which phase it is measured.
 */
import { counterCellContender, histogramCellContender } from "./cells.ts";
import { decodeContender, encodeContender } from "./codec.ts";
import type { Contender } from "./contender.ts";
import type { Scratch } from "./paths.ts";
import { rawGrpcContender } from "./raw-grpc.ts";
import { rawWriteContender } from "./raw-write.ts";
import type { BenchSettings } from "./settings.ts";
import { createWorkload } from "./workload.ts";

/** Contenders whose rounds are interleaved. */
export interface Phase {
  readonly contenders: readonly Contender[];
  readonly rounds: number;
  readonly warmUpRounds: number;
}

/**
 * The phases with the figures asked for, and the limits that they are compared with.
 * @throws TypeError for a name that is not in the catalogue
 */
export function chosen(
  settings: BenchSettings,
  scratch: Scratch,
  only: readonly string[],
): readonly Phase[] {
  const phases = allPhases(settings, scratch);
  const all = phases.flatMap((phase) => phase.contenders);
  for (const name of only) {
    if (all.some((contender) => contender.name === name)) continue;
    const names = all.map((contender) => contender.name).join(", ");
    throw new TypeError(`no figure is called ${JSON.stringify(name)}: there are ${names}`);
  }
  const wanted = new Set(
    all
      .filter((contender) => only.length === 0 || only.includes(contender.name))
      .flatMap((contender) => [contender.name, ...contender.limits]),
  );
  return phases
    .map((phase) => ({
      ...phase,
      contenders: phase.contenders.filter((contender) => wanted.has(contender.name)),
    }))
    .filter((phase) => phase.contenders.length > 0);
}

function allPhases(settings: BenchSettings, scratch: Scratch): readonly Phase[] {
  const workload = createWorkload(settings);
  const { rounds, warmUpRounds } = settings;
  const side = [
    encodeContender(settings, workload),
    decodeContender(settings, workload),
    rawGrpcContender(settings),
    rawWriteContender(settings, workload, scratch.folder("raw")),
    counterCellContender(),
    histogramCellContender(),
  ];
  return [{ contenders: side, rounds, warmUpRounds }];
}
