/**
 * Variants in processes of their own, in turns: what a process has compiled for one variant is not
 * what it would have compiled for another, and a process can be lucky with both. Each round starts
 * every variant once, in an order that turns round; the ratio is that of one round.
 */
import { startChild } from "../child.ts";
import type { Contender, Sample } from "../contender.ts";
import type { BenchSettings } from "../settings.ts";
import { control, none, off, on, onePercent, type VariantKind } from "./variants.ts";

const measured: readonly VariantKind[] = [control, none, on, onePercent];

interface PerRecord {
  readonly produce: number;
  readonly consume: number;
}

type Round = ReadonlyMap<string, PerRecord>;

/** `telemetry-apart-send-…`, `telemetry-apart-produce-…` and `telemetry-apart-consume-…`. */
export function apartContenders(settings: BenchSettings): Contender[] {
  const size = settings.quick ? "quick" : "full";
  const each = new Rounds("send", size);
  const many = new Rounds("sendBatch", size);
  return measured.flatMap((kind) => [
    contender("telemetry-apart-send", kind, each, (it) => it.produce),
    contender("telemetry-apart-produce", kind, many, (it) => it.produce),
    contender("telemetry-apart-consume", kind, many, (it) => it.consume),
  ]);
}

function contender(
  prefix: string,
  kind: VariantKind,
  rounds: Rounds,
  take: (measured: PerRecord) => number,
): Contender {
  let round = 0;
  return {
    name: `${prefix}-${kind.name}`,
    unit: "ratio",
    limits: [],
    note: `${kind.note}, against ${off.note}, each in a process of its own`,
    async round(): Promise<Sample> {
      const all = await rounds.get(round++);
      const base = take(all.get("base") as PerRecord);
      const other = take(all.get(kind.name) as PerRecord);
      const also = { "ns more a record": other - base, "ns a record without": base };
      return { value: base / other, also };
    },
  };
}

class Rounds {
  readonly #via: string;
  readonly #size: string;
  readonly #measured: Promise<Round>[] = [];

  constructor(via: string, size: string) {
    this.#via = via;
    this.#size = size;
  }

  /** Whoever asks first measures the round for all. */
  get(round: number): Promise<Round> {
    this.#measured[round] ??= this.#measure(round);
    return this.#measured[round];
  }

  async #measure(round: number): Promise<Round> {
    const order = ["base", ...measured.map((it) => it.name)];
    // Each is next to each other one, before and behind it, over the rounds.
    const shift = (round >> 1) % order.length;
    const turned = [...order.slice(shift), ...order.slice(0, shift)];
    if (round % 2 === 1) turned.reverse();
    const results = new Map<string, PerRecord>();
    for (const name of turned) {
      const variant = name === "base" || name === control.name ? off.name : name;
      const args = [variant, this.#via, this.#size];
      const child = await startChild("bench/telemetry/apart-child.ts", args);
      const { produce, consume } = child.ready;
      results.set(name, { produce: Number(produce), consume: Number(consume) });
      await child.stop();
    }
    return results;
  }
}
