/**
 * The series of a family, each with its labels once: where several points come out with the same labels (of two scopes, or of
 * keys and values that Prometheus cannot tell apart), they are added up as the data model says for attributes that were taken away, because
 * Prometheus refuses a series that comes twice. Called by `serializer.ts`.
 * https://opentelemetry.io/docs/specs/otel/metrics/data-model/#metric-points
 */
import {
  type ExponentialHistogram,
  type FixedHistogram,
  type MetricPoint,
  type PointExemplar,
  pointTypes,
} from "./collected.ts";
import { fixedHistogram } from "./exponential.ts";
import type { Family, FamilyPart } from "./family.ts";
import type { LabelTexts } from "./labels.ts";

export interface Row {
  /** Without braces. */
  readonly labels: string;
  readonly value: number | FixedHistogram;
  readonly exemplars: readonly PointExemplar[] | undefined;
}

/**
 * Answers the rows in order. `pause` is called now and then and may wait: a family can have any number of points.
 */
export async function rowsOf(
  family: Family,
  labels: LabelTexts,
  notice: (reason: string) => void,
  pause: () => Promise<void> | undefined,
): Promise<readonly Row[]> {
  const [only] = family.parts;
  if (only !== undefined && family.parts.length === 1) {
    const rows = await distinctRows(only, labels, pause);
    if (rows !== undefined) return rows;
  }
  return mergedRows(family, labels, notice, pause);
}

const pointsBetweenPauses = 128;

/** Nearly every family: one stream whose points differ in their labels. Undefined if some may not. */
async function distinctRows(
  part: FamilyPart,
  labels: LabelTexts,
  pause: () => Promise<void> | undefined,
): Promise<readonly Row[] | undefined> {
  const rows: Row[] = [];
  const seen = new Set<string>();
  const orders = new Orders();
  for (const point of part.stream.dataPoints) {
    const { text, names } = labels.of(point.attributes);
    // An empty value is no label to Prometheus, and the order of labels is nothing to it: only a full comparison tells.
    if (seen.has(text) || text.includes('=""') || orders.differ(names)) return undefined;
    seen.add(text);
    rows.push(rowOf(part, point, text));
    if (rows.length % pointsBetweenPauses === 0) await pause();
  }
  return rows;
}

/** Whether the same label names come in different orders: then equal labels need not have equal texts. */
class Orders {
  readonly #seen = new Set<string>();
  readonly #sorted = new Set<string>();
  #last: string | undefined;

  differ(names: string): boolean {
    if (names === this.#last) return false;
    this.#last = names;
    if (this.#seen.has(names)) return false;
    this.#seen.add(names);
    const sorted = names.split(",").sort().join(",");
    const differs = this.#sorted.has(sorted);
    this.#sorted.add(sorted);
    return differs;
  }
}

async function mergedRows(
  family: Family,
  labels: LabelTexts,
  notice: (reason: string) => void,
  pause: () => Promise<void> | undefined,
): Promise<readonly Row[]> {
  const merged = new Map<string, { row: Row; endTime: MetricPoint["endTime"] }>();
  let count = 0;
  for (const part of family.parts) {
    for (const point of part.stream.dataPoints) {
      const key = `${labels.identityOf(point.attributes)},${part.scopeLabels}`;
      const row = rowOf(part, point, labels.of(point.attributes).text);
      const known = merged.get(key);
      if (known === undefined) merged.set(key, { row, endTime: point.endTime });
      else if (part.stream.dataPointType === pointTypes.gauge) {
        if (isLater(point.endTime, known.endTime)) merged.set(key, { row, endTime: point.endTime });
      } else {
        const sum = addRows(known.row, row);
        if (sum === undefined)
          notice("series of two instruments have different buckets: one is left out");
        else known.row = sum;
      }
      count += 1;
      if (count % pointsBetweenPauses === 0) await pause();
    }
  }
  return Array.from(merged.values(), ({ row }) => row);
}

function rowOf(part: FamilyPart, point: MetricPoint, own: string): Row {
  const { dataPointType } = part.stream;
  const { value, exemplars } = point;
  const labels =
    part.scopeLabels === "" || own === "" ? own + part.scopeLabels : `${own},${part.scopeLabels}`;
  if (dataPointType === pointTypes.exponentialHistogram) {
    return { labels, value: fixedHistogram(value as ExponentialHistogram), exemplars };
  }
  return { labels, value: value as number | FixedHistogram, exemplars };
}

function isLater(a: MetricPoint["endTime"], b: MetricPoint["endTime"]): boolean {
  return a[0] > b[0] || (a[0] === b[0] && a[1] >= b[1]);
}

/** Undefined for histograms of different buckets, which do not add up. */
function addRows(a: Row, b: Row): Row | undefined {
  const exemplars = a.exemplars === undefined ? b.exemplars : a.exemplars.concat(b.exemplars ?? []);
  const [x, y] = [a.value, b.value];
  if (typeof x === "number" || typeof y === "number") {
    return { labels: a.labels, value: Number(x) + Number(y), exemplars };
  }
  const boundaries = x.buckets.boundaries;
  const same =
    boundaries.length === y.buckets.boundaries.length &&
    boundaries.every((bound, i) => bound === y.buckets.boundaries[i]);
  if (!same) return undefined;
  const counts = x.buckets.counts.map((count, i) => count + (y.buckets.counts[i] ?? 0));
  const sum = x.sum === undefined || y.sum === undefined ? undefined : x.sum + y.sum;
  const min = Math.min(x.min ?? 0, y.min ?? 0);
  const value = { buckets: { boundaries, counts }, count: x.count + y.count, sum, min };
  return { labels: a.labels, value, exemplars };
}
