/**
 * Two variants against each other. A pair is two fresh houses that take many short turns, A B B A and
 * B A A B, so that whatever the machine does meets both alike and a drift cancels out. A pair's ratio
 * is the other variant's throughput as a part of that without telemetry, by the processor time of the
 * quicker half of each side's turns: the slower ones met the garbage collector or another program.
 * (What a variant allocates is a figure of its own; `all turns` leaves nothing out.)
 */
import type { Contender, Sample } from "../contender.ts";
import { collector } from "../garbage.ts";
import { type Effort, sumOf } from "./effort.ts";
import { type SliceOptions, Slices, warmUp } from "./slice.ts";
import { off, type Variant, type VariantKind } from "./variants.ts";

/** Turns of each side in a pair, of some 20 ms each. */
const PRODUCE_TURNS = 16;
const CONSUME_TURNS = 8;
const ORDER = [0, 1, 1, 0, 1, 0, 0, 1] as const;

const collect = collector();

interface PairSamples {
  readonly produce: Sample;
  readonly consume: Sample | undefined;
}

/** Contenders `<prefix>-produce-<variant>` and, if the records are read too, `<prefix>-consume-…`. */
export function pairContenders(
  prefix: string,
  kind: VariantKind,
  options: SliceOptions,
  against: VariantKind = off,
): Contender[] {
  const pairs = new Pairs(kind, against, options);
  const contender = (what: keyof PairSamples): Contender => {
    let round = 0;
    return {
      name: `${prefix}-${what}-${kind.name}`,
      unit: "ratio",
      limits: [],
      note: `${kind.note}, against ${against.note}`,
      prepare: () => pairs.open(),
      async round() {
        const sample = (await pairs.pair(round++))[what];
        if (sample === undefined) throw new Error(`${prefix} does not ${what}`);
        return sample;
      },
      close: () => pairs.close(),
    };
  };
  return options.consume ? [contender("produce"), contender("consume")] : [contender("produce")];
}

class Pairs {
  readonly #kinds: readonly [VariantKind, VariantKind];
  readonly #options: SliceOptions;
  readonly #measured: Promise<PairSamples>[] = [];
  #variants: readonly [Variant, Variant] | undefined;
  #users = 0;

  constructor(kind: VariantKind, against: VariantKind, options: SliceOptions) {
    this.#kinds = [against, kind];
    this.#options = options;
  }

  async open(): Promise<void> {
    this.#users += 1;
    if (this.#variants !== undefined) return;
    const [against, kind] = this.#kinds;
    this.#variants = [against.open(), kind.open()];
    for (const variant of this.#variants) await warmUp(variant, this.#options);
  }

  async close(): Promise<void> {
    this.#users -= 1;
    if (this.#users > 0) return;
    for (const variant of this.#variants ?? []) await variant.close();
    this.#variants = undefined;
  }

  /** The pair of this round: whoever asks first measures it for both contenders. */
  pair(round: number): Promise<PairSamples> {
    this.#measured[round] ??= this.#measure(round);
    return this.#measured[round];
  }

  async #measure(round: number): Promise<PairSamples> {
    if (this.#variants === undefined) throw new Error("pair() before open()");
    const [against, kind] = this.#variants;
    const slices: Slices[] = [];
    // Who is opened first alternates too: its memory is the older one.
    const order = round % 2 === 0 ? [0, 1] : [1, 0];
    try {
      for (const which of order) {
        slices[which] = await Slices.open(which === 0 ? against : kind, this.#options);
      }
      const [a, b] = slices as [Slices, Slices];
      collect();
      const { records, consume } = this.#options;
      const produced = await takeTurns(PRODUCE_TURNS, round, (which) => (which ? b : a).produce());
      const produce = sampleOf(produced, records);
      if (!consume) return { produce, consume: undefined };
      const consumed = await takeTurns(CONSUME_TURNS, round, (which) => (which ? b : a).consume());
      return { produce, consume: sampleOf(consumed, a.recordsRead) };
    } finally {
      for (const open of slices) await open?.close();
    }
  }
}

type Efforts = readonly [readonly Effort[], readonly Effort[]];

/** So many turns for each side, A B B A and then B A A B; one more at the start does not count. */
async function takeTurns(
  turns: number,
  round: number,
  turn: (which: 0 | 1) => Promise<Effort>,
): Promise<Efforts> {
  const efforts: [Effort[], Effort[]] = [[], []];
  const first = (round & 1) as 0 | 1;
  await turn(first);
  await turn((1 - first) as 0 | 1);
  for (let i = 0; i < turns * 2; i++) {
    const which = ((ORDER[i % ORDER.length] as number) ^ first) as 0 | 1;
    efforts[which].push(await turn(which));
  }
  return efforts;
}

function sampleOf([without, measured]: Efforts, records: number): Sample {
  const base = quickerHalf(without, "cpuSeconds");
  const other = quickerHalf(measured, "cpuSeconds");
  return {
    value: base / other,
    also: {
      wall: quickerHalf(without, "wallSeconds") / quickerHalf(measured, "wallSeconds"),
      "all turns": sumOf(without).cpuSeconds / sumOf(measured).cpuSeconds,
      "ns more a record": ((other - base) * 1e9) / records,
      "ns a record without": (base * 1e9) / records,
    },
  };
}

/** Mean seconds of the turns that are not slower than the median. */
function quickerHalf(efforts: readonly Effort[], what: keyof Effort): number {
  const sorted = efforts.map((it) => it[what]).sort((a, b) => a - b);
  const quick = sorted.slice(0, Math.ceil(sorted.length / 2));
  return quick.reduce((sum, it) => sum + it, 0) / quick.length;
}
