/** Writes the lines of a family: what it is, then its samples, in either format. Called by `serializer.ts`. */
import type { ChunkWriter } from "./chunk-writer.ts";
import type { FixedHistogram, PointExemplar } from "./collected.ts";
import { exemplarsByBucket, exemplarText, latestExemplar } from "./exemplar.ts";
import type { Family } from "./family.ts";
import type { PrometheusFormat } from "./format.ts";
import { escapeHelp, type LabelTexts } from "./labels.ts";
import { canonicalBound, valueText } from "./number.ts";
import type { Row } from "./rows.ts";

export class SampleWriter {
  readonly #out: ChunkWriter;
  readonly #openmetrics: boolean;
  readonly #labels: LabelTexts;
  /** `0.005"} ` for each bound: families of a kind share their bounds. */
  #bounds: readonly number[] = [];
  #boundTexts: readonly string[] = [];

  constructor(out: ChunkWriter, format: PrometheusFormat, labels: LabelTexts) {
    this.#out = out;
    this.#openmetrics = format === "openmetrics";
    this.#labels = labels;
  }

  /** `HELP` and `TYPE`, and `UNIT` in the format that has it. */
  header(family: Family): void {
    const { type, typeName, unit, help } = family;
    const known = !this.#openmetrics && type === "unknown" ? "untyped" : type;
    if (help !== "") this.#out.add(`# HELP ${typeName} ${escapeHelp(help, this.#openmetrics)}\n`);
    this.#out.add(`# TYPE ${typeName} ${known}\n`);
    if (this.#openmetrics && unit !== "") this.#out.add(`# UNIT ${typeName} ${unit}\n`);
  }

  /** Answers what could not be written, and why. */
  row(family: Family, row: Row): string | undefined {
    const { value } = row;
    if (typeof value === "object") return this.#histogram(family, row, value);
    const { kind, type, sample } = family;
    if (this.#openmetrics && type === "counter" && !(value >= 0)) {
      // https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md#counter
      return "a sample is left out: OpenMetrics has no counters below 0 and none that are NaN";
    }
    const name = row.labels === "" ? sample : `${sample}{${row.labels}}`;
    const exemplar = kind === "counter" && type === "counter" ? this.#exemplarOf(row) : "";
    this.#out.add(`${name} ${valueText(value)}${exemplar}\n`);
    return undefined;
  }

  #exemplarOf(row: Row): string {
    if (!this.#openmetrics || row.exemplars === undefined) return "";
    const exemplar = latestExemplar(row.exemplars);
    return exemplar === undefined ? "" : exemplarText(exemplar, this.#labels);
  }

  #histogram(family: Family, row: Row, histogram: FixedHistogram): undefined {
    const { counts } = histogram.buckets;
    const { sample } = family;
    const open = row.labels === "" ? "" : `{${row.labels}}`;
    const sum = sumOf(histogram);
    const total = totalOf(histogram);
    // OpenMetrics has either both or none; the count is that of the last bucket too.
    if (sum !== undefined || !this.#openmetrics) {
      this.#out.add(`${sample}_count${open} ${total}\n`);
    }
    if (sum !== undefined) this.#out.add(`${sample}_sum${open} ${valueText(sum)}\n`);
    const texts = this.#boundTextsOf(histogram.buckets.boundaries);
    const exemplars = this.#bucketExemplars(row, histogram);
    const prefix = `${sample}_bucket{${row.labels}${row.labels === "" ? "" : ","}le="`;
    let cumulative = 0;
    for (let i = 0; i < texts.length; i++) {
      cumulative += counts[i] ?? 0;
      const line = `${prefix}${texts[i]}${cumulative}`;
      this.#out.add(exemplars === undefined ? `${line}\n` : this.#withExemplar(line, exemplars[i]));
    }
    const last = `${prefix}+Inf"} ${total}`;
    this.#out.add(
      exemplars === undefined ? `${last}\n` : this.#withExemplar(last, exemplars[texts.length]),
    );
    return undefined;
  }

  #withExemplar(line: string, exemplar: PointExemplar | undefined): string {
    return exemplar === undefined
      ? `${line}\n`
      : `${line}${exemplarText(exemplar, this.#labels)}\n`;
  }

  #bucketExemplars(row: Row, histogram: FixedHistogram) {
    if (!this.#openmetrics || row.exemplars === undefined) return undefined;
    return exemplarsByBucket(row.exemplars, histogram.buckets.boundaries);
  }

  #boundTextsOf(bounds: readonly number[]): readonly string[] {
    if (bounds === this.#bounds || sameBounds(bounds, this.#bounds)) return this.#boundTexts;
    const finite = bounds.filter((bound) => bound !== Number.POSITIVE_INFINITY);
    const text = this.#openmetrics ? canonicalBound : valueText;
    this.#bounds = bounds;
    this.#boundTexts = finite.map((bound) => `${text(bound)}"} `);
    return this.#boundTexts;
  }
}

function sameBounds(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Of the buckets, so that it cannot disagree with them. */
function totalOf({ buckets, count }: FixedHistogram): number {
  if (buckets.counts.length === 0) return count;
  let total = 0;
  for (const inBucket of buckets.counts) total += inBucket;
  return total;
}

/**
 * Only a sum that cannot fall is one to Prometheus
 * (https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#histograms-1).
 */
function sumOf({ sum, min, buckets }: FixedHistogram): number | undefined {
  if (sum === undefined || sum === null || Number.isNaN(sum)) return undefined;
  const falls = sum < 0 || (min !== undefined && min < 0) || (buckets.boundaries[0] ?? 0) < 0;
  return falls ? undefined : sum;
}
