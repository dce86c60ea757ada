/**
 * Where our text differs from the stock serializer's, and how: the list of docs/prometheus.md, which names the paragraph of the
 * specification for each.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import type { ResourceMetrics } from "@opentelemetry/sdk-metrics";
import type { CollectedMetrics } from "../../../src/prometheus/collected.ts";
import { collected, counter, exponential, gauge, histogram, scopes, write } from "./streams.ts";

const document = readFileSync(new URL("../../../docs/prometheus.md", import.meta.url), "utf8");
const stock = new PrometheusSerializer(undefined, false, undefined, false, true);

function stockText(metrics: CollectedMetrics): string {
  try {
    return stock.serialize(metrics as unknown as ResourceMetrics);
  } catch (error) {
    return `throws ${(error as Error).name}`;
  }
}

interface Difference {
  /** As in docs/prometheus.md. */
  readonly name: string;
  readonly metrics: CollectedMetrics;
  readonly stock: RegExp;
  readonly ours: RegExp;
  /** Must not be in our text. */
  readonly never?: RegExp;
}

const one = (value: unknown, attributes = {}) => [{ value, attributes }];
const buckets = (boundaries: number[], counts: number[], sum?: number) => ({
  buckets: { boundaries, counts },
  count: counts.reduce((total, n) => total + n, 0),
  sum,
});
const circular: unknown[] = [];
circular.push(circular);

const differences: readonly Difference[] = [
  {
    name: "Unit suffix",
    metrics: collected([gauge({ name: "size", unit: "By", points: one(1) })]),
    stock: /^size 1$/m,
    ours: /^size_bytes 1$/m,
  },
  {
    name: "Unit before `_total`",
    metrics: collected([counter({ name: "io_total", unit: "By", points: one(1) })]),
    stock: /^io_total 1$/m,
    ours: /^io_bytes_total 1$/m,
  },
  {
    name: "No `UNIT` in the text format",
    metrics: collected([gauge({ name: "size", unit: "By", points: one(1) })]),
    stock: /^# UNIT size By$/m,
    ours: /^# TYPE size_bytes gauge$/m,
    never: /UNIT/,
  },
  {
    name: "One `TYPE` and `HELP` for each family",
    metrics: scopes(
      [{ name: "a" }, [gauge({ name: "g", points: one(1, { k: "1" }) })]],
      [{ name: "b" }, [gauge({ name: "g", points: one(2, { k: "2" }) })]],
    ),
    stock: /# TYPE g gauge\n[^#]*\n# HELP.*\n# TYPE g gauge/,
    ours: /^# TYPE g gauge\ng\{k="1"\} 1\ng\{k="2"\} 2\n$/,
  },
  {
    name: "Families of two types",
    metrics: collected([
      gauge({ name: "x", points: one(1) }),
      histogram({ name: "x", points: one(buckets([], [1], 1)) }),
    ]),
    stock: /# TYPE x histogram/,
    ours: /^# TYPE x gauge\nx 1\n$/,
  },
  {
    name: "Each series once",
    metrics: scopes(
      [{ name: "a" }, [counter({ name: "c", points: one(1) })]],
      [{ name: "b" }, [counter({ name: "c", points: one(2) })]],
    ),
    stock: /^c_total 1\n(?:.*\n)*?c_total 2$/m,
    ours: /^# TYPE c_total counter\nc_total 3\n$/,
  },
  {
    name: "No invented `HELP`",
    metrics: collected([gauge({ name: "g", points: one(1) })]),
    stock: /# HELP g description missing/,
    ours: /^# TYPE g gauge\ng 1\n$/,
  },
  {
    name: "No families without samples",
    metrics: collected([gauge({ name: "g", points: [] })]),
    stock: /# TYPE g gauge/,
    ours: /^$/,
  },
  {
    name: "Colliding label names",
    metrics: collected([gauge({ name: "g", points: one(1, { "a.b": "1", a_b: "2" }) })]),
    stock: /g\{a_b="1",a_b="2"\} 1/,
    ours: /^g\{a_b="1;2"\} 1$/m,
  },
  {
    name: "Label names that begin with a digit",
    metrics: collected([gauge({ name: "g", points: one(1, { "1st": "x" }) })]),
    stock: /g\{1st="x"\} 1/,
    ours: /^g\{key_1st="x"\} 1$/m,
  },
  {
    name: "An attribute `le` on a histogram",
    metrics: collected([
      histogram({ name: "h", points: one(buckets([1], [1, 0], 1), { le: "x" }) }),
    ]),
    stock: /h_bucket\{le="x",le="1"\} 1/,
    ours: /^h_bucket\{exported_le="x",le="1"\} 1$/m,
  },
  {
    name: "Characters that no text can have",
    metrics: collected([gauge({ name: "g", points: one(1, { a: "x\0y\ud800" }) })]),
    stock: /g\{a="x\0y\ud800"\} 1/,
    ours: /^g\{a="x\ufffdy\ufffd"\} 1$/m,
  },
  {
    name: "Values that are not JSON",
    metrics: collected([gauge({ name: "g", points: one(1, { a: circular, b: 1n }) })]),
    stock: /^throws TypeError$/,
    ours: /^g\{a="",b="1"\} 1$/m,
  },
  {
    name: "No `target_info` of an empty resource",
    metrics: collected([]),
    stock: /^target_info 1$/m,
    ours: /^$/,
  },
  {
    name: "Sums that can fall",
    metrics: collected([histogram({ name: "h", points: one(buckets([-1, 1], [1, 1, 0], -3)) })]),
    stock: /^h_sum -3$/m,
    ours: /^h_count 2$/m,
    never: /h_sum/,
  },
  {
    name: "The last bucket is always there",
    metrics: collected([
      histogram({
        name: "h",
        points: [{ value: { buckets: { boundaries: [], counts: [] }, count: 2 } }],
      }),
    ]),
    stock: /^h_count 2$/m,
    ours: /^h_bucket\{le="\+Inf"\} 2$/m,
  },
  {
    name: "Exponential histograms",
    metrics: collected([
      exponential({
        name: "h",
        points: one({
          count: 2,
          sum: 3,
          scale: 0,
          zeroCount: 0,
          positive: { offset: 0, bucketCounts: [2] },
          negative: { offset: 0, bucketCounts: [] },
        }),
      }),
    ]),
    stock: /# TYPE h untyped\s*$/,
    ours: /^h_bucket\{le="2"\} 2$/m,
  },
  {
    name: "Delta temporality",
    metrics: collected([{ ...counter({ name: "c", points: one(1) }), aggregationTemporality: 0 }]),
    stock: /^c_total 1$/m,
    ours: /^$/,
  },
];

describe("the differences from the stock serializer", () => {
  for (const difference of differences) {
    it(`hold: ${difference.name}`, async () => {
      const ours = `${(await write(difference.metrics)).lines.join("\n")}\n`;
      assert.match(stockText(difference.metrics), difference.stock);
      assert.match(ours === "\n" ? "" : ours, difference.ours);
      if (difference.never !== undefined) assert.doesNotMatch(ours, difference.never);
    });
  }

  it("are those that docs/prometheus.md lists, each with its paragraph", () => {
    const listed = [...document.matchAll(/^\| \*\*(.+?)\*\* \|.*$/gm)];
    const link = (row: string) => /\]\[([a-z-]+)\] \|$/.exec(row)?.[1];
    const withLink = listed.filter(([row]) => document.includes(`\n[${link(row)}]: https://`));
    assert.deepEqual(
      withLink.map(([, name]) => name).sort(),
      differences.map(({ name }) => name).sort(),
    );
  });
});
