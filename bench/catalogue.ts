/**
 * Every figure there is, in the order in which it is printed, and in which phase it is measured.
 */
import { counterCellContender, histogramCellContender } from "./cells.ts";
import { decodeContender, encodeContender } from "./codec.ts";
import { consumeContender } from "./consume.ts";
import type { Contender } from "./contender.ts";
import { embeddedHouse, grpcHouse, type SharedHouse } from "./houses.ts";
import { idleContender } from "./idle.ts";
import { memoryContenders } from "./memory.ts";
import type { Scratch } from "./paths.ts";
import { peerContenders, peersOf } from "./peers/catalogue.ts";
import type { PeerSetup } from "./peers/peer.ts";
import { type ProduceOptions, produceContender } from "./produce.ts";
import { rawGrpcContender } from "./raw-grpc.ts";
import { rawWriteContender } from "./raw-write.ts";
import { scalePhases } from "./scale/catalogue.ts";
import type { BenchSettings } from "./settings.ts";
import { overheadContenders, telemetryPhases } from "./telemetry/catalogue.ts";
import { scrape22kContenders } from "./telemetry/scrape.ts";
import { createWorkload, type Workload } from "./workload.ts";

/** Contenders whose rounds are interleaved. */
export interface Phase {
  readonly contenders: readonly Contender[];
  readonly rounds: number;
  readonly warmUpRounds: number;
  /** Left out unless it is named. */
  readonly onlyByName?: boolean;
}

/**
 * The phases with the figures asked for, and the limits that they are compared with. A name stands
 * for itself, and for all names that go on from it after a hyphen.
 * @throws TypeError for a name that is not in the catalogue
 */
export function chosen(
  settings: BenchSettings,
  scratch: Scratch,
  only: readonly string[],
  peers: readonly PeerSetup[] = [],
): readonly Phase[] {
  const phases = allPhases(settings, scratch, peers);
  const all = phases.flatMap((phase) => phase.contenders);
  for (const name of only) {
    if (all.some((contender) => isNamed(contender, [name]))) continue;
    const names = all.map((contender) => contender.name).join(", ");
    throw new TypeError(`no figure is called ${JSON.stringify(name)}: there are ${names}`);
  }
  const asked =
    only.length === 0
      ? phases.filter((phase) => phase.onlyByName !== true).flatMap((phase) => phase.contenders)
      : all.filter((contender) => isNamed(contender, only));
  const wanted = new Set(asked.flatMap((contender) => [contender.name, ...contender.limits]));
  return phases
    .map((phase) => ({
      ...phase,
      contenders: phase.contenders.filter((contender) => wanted.has(contender.name)),
    }))
    .filter((phase) => phase.contenders.length > 0);
}

function isNamed({ name }: Contender, names: readonly string[]): boolean {
  const [figure = name] = name.split("@");
  return names.some((it) => figure === it || figure.startsWith(`${it}-`));
}

function allPhases(
  settings: BenchSettings,
  scratch: Scratch,
  peers: readonly PeerSetup[],
): readonly Phase[] {
  const workload = createWorkload(settings);
  const { rounds, warmUpRounds } = settings;
  const embedded = embeddedHouse(() => scratch.folder("embedded"));
  const agent = grpcHouse(() => scratch.folder("agent"));
  const beside = peerContenders(settings, workload, agent, scratch, peers);
  const side: Contender[] = [
    encodeContender(settings, workload),
    decodeContender(settings, workload),
    rawGrpcContender(settings),
    rawWriteContender(settings, workload, scratch.folder("raw")),
    ...produceContenders(settings, workload, embedded, agent),
    ...consumeContenders(settings, workload, agent),
    counterCellContender(),
    histogramCellContender(),
    ...beside.throughput,
  ];
  const memory = memoryContenders(settings, workload, agent);
  return [
    { contenders: side, rounds, warmUpRounds },
    { contenders: memory, rounds: 1, warmUpRounds: 0 },
    { contenders: overheadContenders(settings, workload), rounds, warmUpRounds: 1 },
    { contenders: scrape22kContenders(), rounds, warmUpRounds: 2 },
    {
      contenders: [idleContender(settings.idleSeconds, () => scratch.folder("idle"))],
      rounds: 3,
      warmUpRounds: 0,
    },
    { contenders: beside.latency, rounds: Math.ceil(rounds / 2), warmUpRounds: 1 },
    ...telemetryPhases(settings, workload),
    ...scalePhases(settings, workload),
  ];
}

function produceContenders(
  settings: BenchSettings,
  workload: Workload,
  embedded: SharedHouse,
  agent: SharedHouse,
): Contender[] {
  const byDisk = ["raw-write", "encode"];
  const byAll = ["raw-grpc", ...byDisk, ...peersOf("grpc-produce")];
  const each = "`send`, a promise for each record";
  const many = "`sendBatch` of 5,000 records";
  const options: ProduceOptions[] = [
    { name: "embedded-produce", house: embedded, limits: byDisk, via: "sendBatch", note: many },
    { name: "embedded-produce-send", house: embedded, limits: byDisk, via: "send", note: each },
    { name: "grpc-produce", house: agent, limits: byAll, via: "sendBatch", note: many },
    { name: "grpc-produce-send", house: agent, limits: byAll, via: "send", note: each },
  ];
  return options.map((option) => {
    const where = option.house === agent ? "agent in its own process" : "agent in this process";
    const note = `durable, ${option.note}, ${where}`;
    return produceContender(settings, workload, { ...option, note });
  });
}

function consumeContenders(
  settings: BenchSettings,
  workload: Workload,
  house: SharedHouse,
): Contender[] {
  const limits = ["raw-grpc", "decode", ...peersOf("consume")];
  return [
    consumeContender(settings, workload, {
      name: "consume",
      house,
      limits,
      via: "batches",
      note: "every record of `batches()`, a new group from the start, agent in its own process",
    }),
    consumeContender(settings, workload, {
      name: "consume-each",
      house,
      limits,
      via: "records",
      note: "`for await` over the records, a new group from the start, agent in its own process",
    }),
  ];
}
