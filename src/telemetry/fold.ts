/**
 * A gauge family with more series than its limit, shown without `partition` (METRICS rule 6): lag in records is summed, lag
 * in seconds is the greatest, lead the least, offsets are left out. Pure; called by the hub when a reader collects.
 */
import type { InstrumentDescriptor } from "./catalogue.ts";
import { type AttributeValues, type Family, GaugeCell, isGauge, type Series } from "./cells.ts";

/** Answers at most `seriesMax` series; what is still beyond it (very many groups) is left out, not falsified. */
export function foldPartitions(
  family: Family,
  seriesMax: number,
  keyOf: (descriptor: InstrumentDescriptor, attributes: AttributeValues) => string,
): Family {
  const { descriptor } = family;
  const how = descriptor.withoutPartition;
  const series = new Map<string, Series>();
  if (how === "drop") return { descriptor, series };
  for (const [key, one] of family.series) {
    if (how === undefined) {
      if (series.size < seriesMax) series.set(key, one);
      continue;
    }
    if (!isGauge(one.cell)) continue;
    const { partition: _, ...attributes } = one.attributes;
    const foldedKey = keyOf(descriptor, attributes);
    let into = series.get(foldedKey);
    if (into === undefined) {
      if (series.size >= seriesMax) continue;
      into = { attributes, cell: new GaugeCell(), startMs: one.startMs };
      (into.cell as GaugeCell).value = how === "sum" ? 0 : one.cell.value;
      series.set(foldedKey, into);
    }
    const total = into.cell as GaugeCell;
    if (how === "sum") total.value += one.cell.value;
    else total.value = Math[how](total.value, one.cell.value);
    total.setAt = Math.max(total.setAt, one.cell.setAt);
  }
  return { descriptor, series };
}
