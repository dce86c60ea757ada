/** Exemplars as OpenMetrics writes them, behind the value of a bucket or a counter. Pure; called by `sample-writer.ts`. */
import type { AttributeMap, PointExemplar } from "./collected.ts";
import type { LabelTexts } from "./labels.ts";
import { valueText } from "./number.ts";

/**
 * Names and values of an exemplar's labels together
 * (https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md#exemplars).
 */
const labelCharactersMax = 128;

/** The largest of each bucket: the specification's choice where only one can be written. */
export function exemplarsByBucket(
  exemplars: readonly PointExemplar[],
  boundaries: readonly number[],
): (PointExemplar | undefined)[] {
  const byBucket = new Array<PointExemplar | undefined>(boundaries.length + 1);
  for (const exemplar of exemplars) {
    const at = boundaries.findIndex((bound) => exemplar.value <= bound);
    const bucket = at < 0 ? boundaries.length : at;
    const other = byBucket[bucket];
    if (other === undefined || exemplar.value >= other.value) byBucket[bucket] = exemplar;
  }
  return byBucket;
}

/** A counter has one: the latest. */
export function latestExemplar(exemplars: readonly PointExemplar[]): PointExemplar | undefined {
  let latest: PointExemplar | undefined;
  for (const exemplar of exemplars) {
    if (latest === undefined || exemplar.timestampMs >= latest.timestampMs) latest = exemplar;
  }
  return latest;
}

/** ` # {trace_id="…",span_id="…"} 0.3 1700000000.123`; empty if it cannot be written. */
export function exemplarText(exemplar: PointExemplar, labels: LabelTexts): string {
  const { traceId, spanId, value, timestampMs, filteredAttributes } = exemplar;
  if (typeof value !== "number" || !/^[0-9a-f]{32}$/i.test(traceId)) return "";
  if (!/^[0-9a-f]{16}$/i.test(spanId)) return "";
  const trace = `trace_id="${traceId}",span_id="${spanId}"`;
  const room = labelCharactersMax - "trace_idspan_id".length - traceId.length - spanId.length;
  const rest = filteredAttributes === undefined ? "" : fitting(filteredAttributes, labels, room);
  const time = Number.isFinite(timestampMs) ? ` ${(timestampMs / 1_000).toFixed(3)}` : "";
  return ` # {${trace}${rest}} ${valueText(value)}${time}`;
}

/** All of the attributes or, if they are too long together, none. */
function fitting(attributes: AttributeMap, labels: LabelTexts, room: number): string {
  const own = labels.pairsOf(attributes).filter((pair) => !/^(trace_id|span_id)=/.test(pair));
  let length = 0;
  // The limit is of characters before escaping, without the `=""` of each pair.
  for (const pair of own) length += [...pair.replace(/\\(.)/g, "$1")].length - 3;
  return own.length === 0 || length > room ? "" : `,${own.join(",")}`;
}
