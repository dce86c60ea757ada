/**
 * One variant in a process of its own, as it is in an application: nothing was compiled for another one. Writes one JSON line with
 * the nanoseconds of processor time for each record, and ends. Started by `apart.ts`.
 */
import { fullSettings, quickSettings } from "../settings.ts";
import { createWorkload } from "../workload.ts";
import { type SliceOptions, Slices, sliceOptions, warmUp } from "./slice.ts";
import { none, off, on, onePercent, type VariantKind } from "./variants.ts";

/** Turns of each kind; the first ones do not count. */
const TURNS = 26;
const NOT_COUNTED = 6;

const kinds: readonly VariantKind[] = [off, none, on, onePercent];

/** This thread's time: the collector's helpers run beside it, on whatever the machine has to spare. */
async function nanosecondsOf(work: () => Promise<unknown>): Promise<number> {
  const before = process.threadCpuUsage();
  await work();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) * 1_000;
}

/** The lower quartile of the turns: slower ones met a collection or another program. */
async function perRecord(turn: () => Promise<unknown>, records: number): Promise<number> {
  const taken: number[] = [];
  for (let i = 0; i < TURNS; i++) {
    const nanoseconds = await nanosecondsOf(turn);
    if (i >= NOT_COUNTED) taken.push(nanoseconds);
  }
  taken.sort((a, b) => a - b);
  return (taken[taken.length >> 2] ?? Number.NaN) / records;
}

async function measure(kind: VariantKind, options: SliceOptions): Promise<void> {
  const variant = kind.open();
  await warmUp(variant, options);
  const slices = await Slices.open(variant, options);
  const produce = await perRecord(() => slices.produce(), options.records);
  const consume = options.consume
    ? await perRecord(() => slices.consume(), slices.recordsRead)
    : undefined;
  console.log(JSON.stringify({ produce, consume }));
  await slices.close();
  await variant.close();
}

const [name, via, size] = process.argv.slice(2);
const kind = kinds.find((it) => it.name === name);
if (kind === undefined || (via !== "send" && via !== "sendBatch")) {
  throw new Error(`expected a variant, then send or sendBatch; got ${name} ${via}`);
}
const settings = size === "quick" ? quickSettings : fullSettings;
await measure(kind, sliceOptions(settings, createWorkload(settings), { way: "embedded", via }));
