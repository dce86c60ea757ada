/**
 * The `streamhouse.group.*` gauges and the age of what they show. Cells are resolved when a series appears; a collection only moves
 * seconds on. Where there are more series than a family may have, they are shown without `partition` from the start (METRICS
 * rule 6), so that neither cells nor collections grow with partitions times groups. Decides nothing about lag. Called by the
 * lag monitor.
 */
import { catalogue, type InstrumentDescriptor } from "../telemetry/catalogue.ts";
import type { CounterCell, GaugeCell, MetricRegistry } from "../telemetry/cells.ts";
import { seriesPerFamilyMax } from "../telemetry/registry.ts";
import { type GroupLag, lagSeconds, type PartitionLags } from "./lag.ts";

interface Labels {
  readonly topic: string;
  readonly partition?: number;
  readonly group_id: string;
}

/** One series of each family. */
interface Shown {
  readonly labels: Labels;
  records: number;
  lost: number;
  lead: number;
  committedAtMs: number;
  appendedMs: number | undefined;
}

interface Cells {
  readonly records: GaugeCell;
  readonly seconds: GaugeCell;
  readonly lost: GaugeCell;
  readonly lead: GaugeCell;
  readonly lastCommit: GaugeCell;
}

interface Live {
  readonly labels: Labels;
  readonly cells: Cells;
  appendedMs: number | undefined;
}

const FAMILIES: readonly InstrumentDescriptor[] = [
  catalogue.groupLagRecords,
  catalogue.groupLagSeconds,
  catalogue.groupLostRecords,
  catalogue.groupLeadRecords,
  catalogue.groupLastCommit,
];

export class LagGauges {
  /** Failed refreshes. */
  readonly refreshErrors: CounterCell;
  readonly #metrics: MetricRegistry;
  readonly #seriesMax: number;
  readonly #live = new Map<string, Live>();
  readonly #members = new Map<string, GaugeCell>();
  /** Most series beyond the limit so far: each is counted as an overflow once. */
  #overflow = 0;

  constructor(metrics: MetricRegistry, seriesMax: number = seriesPerFamilyMax) {
    this.#metrics = metrics;
    this.#seriesMax = seriesMax;
    this.refreshErrors = metrics.counter(catalogue.lagRefreshErrors);
  }

  /** Shows exactly this: series of anything else are gone. `members`: by group; the dead are not in it. */
  show(held: readonly PartitionLags[], members: ReadonlyMap<string, number>, nowMs: number): void {
    let series = 0;
    for (const { lags } of held) series += lags.length;
    const folded = series > this.#seriesMax;
    if (folded) this.#countOverflow(series - this.#seriesMax);
    const shown = folded ? withoutPartitions(held) : onePerPartition(held);
    for (const [key, { labels }] of this.#live) if (!shown.has(key)) this.#release(key, labels);
    for (const [key, one] of shown) this.#set(key, one);
    this.#showMembers(held, members);
    this.moveOn(nowMs);
  }

  /** Seconds go on growing between refreshes. */
  moveOn(nowMs: number): void {
    for (const { cells, appendedMs } of this.#live.values()) {
      cells.seconds.set(lagSeconds(appendedMs, nowMs));
    }
  }

  /** How old the values are; no series before there are any. */
  showAge(seconds: number): void {
    this.#metrics.gauge(catalogue.lagAge).set(seconds);
  }

  #set(key: string, shown: Shown): void {
    let live = this.#live.get(key);
    if (live === undefined) {
      live = { labels: shown.labels, cells: this.#resolve(shown.labels), appendedMs: undefined };
      this.#live.set(key, live);
    }
    const { records, lost, lead, lastCommit } = live.cells;
    live.appendedMs = shown.appendedMs;
    records.set(shown.records);
    lost.set(shown.lost);
    lead.set(shown.lead);
    lastCommit.set(shown.committedAtMs / 1_000);
  }

  #resolve(labels: Labels): Cells {
    const attributes = { ...labels };
    return {
      records: this.#metrics.gauge(catalogue.groupLagRecords, attributes),
      seconds: this.#metrics.gauge(catalogue.groupLagSeconds, attributes),
      lost: this.#metrics.gauge(catalogue.groupLostRecords, attributes),
      lead: this.#metrics.gauge(catalogue.groupLeadRecords, attributes),
      lastCommit: this.#metrics.gauge(catalogue.groupLastCommit, attributes),
    };
  }

  #release(key: string, labels: Labels): void {
    this.#live.delete(key);
    for (const family of FAMILIES) this.#metrics.release(family, { ...labels });
  }

  #showMembers(held: readonly PartitionLags[], members: ReadonlyMap<string, number>): void {
    const ours = new Set<string>();
    for (const { firstOf } of held) for (const group of firstOf) ours.add(group);
    for (const group of this.#members.keys()) {
      if (ours.has(group)) continue;
      this.#members.delete(group);
      this.#metrics.release(catalogue.groupMembers, { group_id: group });
    }
    for (const group of ours) {
      let cell = this.#members.get(group);
      if (cell === undefined) {
        cell = this.#metrics.gauge(catalogue.groupMembers, { group_id: group });
        this.#members.set(group, cell);
      }
      cell.set(members.get(group) ?? 0);
    }
  }

  #countOverflow(beyond: number): void {
    const more = beyond - this.#overflow;
    if (more <= 0) return;
    this.#overflow = beyond;
    for (const { name } of FAMILIES) {
      this.#metrics.counter(catalogue.seriesOverflow, { family: name }).add(more);
    }
  }
}

/** By labels, not by topic id: a topic that was made anew under its name goes on in the same series. */
function onePerPartition(held: readonly PartitionLags[]): Map<string, Shown> {
  const shown = new Map<string, Shown>();
  for (const { topic, partition, lags } of held) {
    for (const lag of lags) {
      const labels = { topic, partition, group_id: lag.group };
      shown.set(`${topic}/${partition}/${lag.group}`, { labels, ...valuesOf(lag) });
    }
  }
  return shown;
}

function valuesOf({ records, lost, lead, committedAtMs, appendedMs }: GroupLag) {
  return { records, lost, lead, committedAtMs, appendedMs };
}

/** Sums of records, the oldest of what is uncommitted, the least lead, the latest commit. */
function withoutPartitions(held: readonly PartitionLags[]): Map<string, Shown> {
  const shown = new Map<string, Shown>();
  const byTopic = new Map<string, Map<string, Shown>>();
  for (const { topic, lags } of held) {
    const groups = byTopic.get(topic) ?? new Map<string, Shown>();
    byTopic.set(topic, groups);
    for (const lag of lags) {
      const into = groups.get(lag.group);
      if (into !== undefined) {
        foldInto(into, lag);
        continue;
      }
      const one = { labels: { topic, group_id: lag.group }, ...valuesOf(lag) };
      groups.set(lag.group, one);
      shown.set(`${topic}//${lag.group}`, one);
    }
  }
  return shown;
}

function foldInto(into: Shown, lag: GroupLag): void {
  into.records += lag.records;
  into.lost += lag.lost;
  into.lead = Math.min(into.lead, lag.lead);
  into.committedAtMs = Math.max(into.committedAtMs, lag.committedAtMs);
  if (lag.appendedMs === undefined) return;
  into.appendedMs = Math.min(into.appendedMs ?? lag.appendedMs, lag.appendedMs);
}
