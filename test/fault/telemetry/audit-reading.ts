/** What a component's audit says, as a scrape would show it. For tests of the audit. */
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { isHistogram, type MetricRegistry } from "../../../src/telemetry/cells.ts";

/** One collection: how far each law is off. */
export function discrepancies(metrics: MetricRegistry): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const { descriptor, series } of metrics.collect()) {
    if (descriptor.name !== catalogue.auditDiscrepancy.name) continue;
    for (const { attributes, cell } of series.values()) {
      if (!isHistogram(cell)) found.set(String(attributes.law), cell.value);
    }
  }
  return found;
}
