/**
 * What `--to` of `streamhouse group reset` may say, and which offset that is in a partition. Pure. Called by `group-reset.ts`.
 */
import { limits } from "../core/limits.ts";

/** Where a group is to go on. */
export type ResetPosition =
  | { readonly kind: "earliest" | "latest" }
  | { readonly kind: "offset"; readonly offset: number }
  /** That many records from where the group is. */
  | { readonly kind: "shift"; readonly records: number }
  /** The first record at or after this time, ms since 1970. */
  | { readonly kind: "time"; readonly timeMs: number };

/** A partition of the group, and what it has. */
export interface ResetPartition {
  readonly topic: string;
  readonly partition: number;
  readonly committed: number | undefined;
  readonly earliest: number;
  readonly latest: number;
  /** What the agents answered for the position's time. */
  readonly atTime?: number | undefined;
}

/** One partition of the plan. */
export interface ResetStep {
  readonly topic: string;
  readonly partition: number;
  readonly committed: number | undefined;
  readonly offset: number;
  /** The log does not reach as far as was asked for: this is its end that is nearest. */
  readonly clamped: boolean;
}

/** Undefined if the text says none of it. */
export function parseResetPosition(text: string, nowMs: number): ResetPosition | undefined {
  if (text === "earliest" || text === "latest") return { kind: text };
  if (/^[+-]\d{1,16}$/.test(text)) return { kind: "shift", records: Number(text) };
  if (/^\d{1,16}$/.test(text)) {
    const offset = Number(text);
    return offset <= limits.offsetMax ? { kind: "offset", offset } : undefined;
  }
  const ago = durationMs(text);
  if (ago !== undefined) return { kind: "time", timeMs: Math.max(0, nowMs - ago) };
  const timeMs = timeOf(text);
  return timeMs === undefined ? undefined : { kind: "time", timeMs };
}

/** The partition's step, or undefined where there is nothing to shift from. */
export function resetStep(position: ResetPosition, it: ResetPartition): ResetStep | undefined {
  const wanted = wantedOffset(position, it);
  if (wanted === undefined) return undefined;
  const offset = Math.min(Math.max(wanted, it.earliest), it.latest);
  const { topic, partition, committed } = it;
  return { topic, partition, committed, offset, clamped: offset !== wanted };
}

function wantedOffset(position: ResetPosition, it: ResetPartition): number | undefined {
  switch (position.kind) {
    case "earliest":
      return it.earliest;
    case "latest":
      return it.latest;
    case "offset":
      return position.offset;
    case "shift":
      return it.committed === undefined ? undefined : it.committed + position.records;
    case "time":
      return it.atTime ?? it.latest;
  }
}

/** A time with its zone: without one the same command would mean another time on another machine. */
function timeOf(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)$/.test(text)) {
    return undefined;
  }
  const timeMs = Date.parse(text);
  return timeMs >= 0 ? timeMs : undefined;
}

/** ISO 8601, as Kafka's `--by-duration`: `PT1H30M`, `P2D`, `P1W`. Months and years have no fixed length. */
function durationMs(text: string): number | undefined {
  const parts = /^P(?=.)(\d{1,6}W)?(\d{1,6}D)?(?:T(?=\d)(\d{1,6}H)?(\d{1,6}M)?(\d{1,6}S)?)?$/;
  const match = parts.exec(text);
  if (match === null) return undefined;
  const [weeks = 0, days = 0, hours = 0, minutes = 0, seconds = 0] = match
    .slice(1)
    .map((part) => Number(part?.slice(0, -1) ?? 0));
  return ((((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000;
}
