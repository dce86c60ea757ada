/** Families as plain data, for assertions. */
import { type Family, isHistogram } from "../../../src/telemetry/cells.ts";

/** `name{key=value,…}` → value; of histograms `[count, sum]`. */
export function readFamilies(families: Iterable<Family>): Record<string, number | number[]> {
  const read: Record<string, number | number[]> = {};
  for (const { descriptor, series } of families) {
    for (const { attributes, cell } of series.values()) {
      const labels = Object.entries(attributes).map(([key, value]) => `${key}=${value}`);
      const name = `${descriptor.name}{${labels.join(",")}}`;
      read[name] = isHistogram(cell) ? [cell.count, cell.sum] : cell.value;
    }
  }
  return read;
}
