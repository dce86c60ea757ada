/**
 * Every figure about telemetry, by phase. They are measured only when asked for: `--only telemetry`,
 * or a part of it.
 */
import type { Phase } from "../catalogue.ts";
import type { Contender } from "../contender.ts";
import type { BenchSettings } from "../settings.ts";
import type { Workload } from "../workload.ts";
import { allocationContenders } from "./allocation.ts";
import { apartContenders } from "./apart.ts";
import { componentMemoryContenders } from "./component-memory.ts";
import { pairContenders } from "./pairs.ts";
import { recordingContenders } from "./recording.ts";
import { scrapeContenders, seriesHeapContenders } from "./scrape.ts";
import { sliceOptions } from "./slice.ts";
import { tracedSendContenders } from "./traced-send.ts";
import {
  allTraces,
  bridge,
  bridgePerBatch,
  control,
  knobs,
  none,
  on,
  onePercent,
  type VariantKind,
} from "./variants.ts";

const ways: readonly VariantKind[] = [
  control,
  none,
  on,
  bridge,
  bridgePerBatch,
  onePercent,
  allTraces,
];

export function telemetryPhases(settings: BenchSettings, workload: Workload): Phase[] {
  const { pairs, recordings, scrapes, callsPerRecording } = settings.telemetry;
  const phase = (contenders: readonly Contender[], rounds: number, warmUpRounds = 1): Phase => ({
    contenders,
    rounds,
    warmUpRounds,
    onlyByName: true,
  });
  return [
    phase(throughputContenders(settings, workload), pairs, 2),
    phase(apartContenders(settings), pairs * 2, 0),
    phase(knobContenders(settings, workload), pairs),
    // Differences of hundreds of ns need fewer.
    phase(tracedSendContenders(settings, workload), Math.ceil(pairs / 3)),
    phase(recordingContenders(callsPerRecording), recordings),
    phase(scrapeContenders(), scrapes, 2),
    phase([...seriesHeapContenders(), ...componentMemoryContenders()], 3, 0),
    phase(allocationContenders(settings, workload), 3),
  ];
}

/** What telemetry costs, in the plain bench: `sendBatch` with metrics, and with traces of which one in a hundred is sampled. */
export function overheadContenders(settings: BenchSettings, workload: Workload): Contender[] {
  const many = sliceOptions(settings, workload, { way: "embedded", via: "sendBatch" });
  const named = (name: string, kind: VariantKind) => {
    const [produce] = pairContenders(name, kind, { ...many, consume: false });
    return produce === undefined ? [] : [{ ...produce, name }];
  };
  return [
    ...named("telemetry-overhead", on),
    ...named("telemetry-overhead-traces-1", onePercent),
    ...named("telemetry-overhead-control", control),
  ];
}

function throughputContenders(settings: BenchSettings, workload: Workload): Contender[] {
  const many = sliceOptions(settings, workload, { way: "embedded", via: "sendBatch" });
  const each = sliceOptions(settings, workload, { way: "embedded", via: "send" });
  const grpc = sliceOptions(settings, workload, { way: "grpc", via: "sendBatch" });
  return ways.flatMap((kind) => [
    ...pairContenders("telemetry-embedded", kind, many),
    ...pairContenders("telemetry-send", kind, each),
    ...pairContenders("telemetry-grpc", kind, grpc),
  ]);
}

/** What one option costs, where it costs most: a promise for each record. */
function knobContenders(settings: BenchSettings, workload: Workload): Contender[] {
  const send = sliceOptions(settings, workload, { way: "embedded", via: "send" });
  return knobs.flatMap((kind) => pairContenders("telemetry-knob", kind, send, on));
}
