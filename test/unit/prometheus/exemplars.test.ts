import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PointExemplar } from "../../../src/prometheus/collected.ts";
import { counter, gauge, histogram, samples } from "./streams.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const spanId = "b7ad6b7169203331";
const exemplar = (value: number, more: Partial<PointExemplar> = {}): PointExemplar => ({
  value,
  timestampMs: 1_700_000_000_123,
  traceId,
  spanId,
  ...more,
});
const trace = `# {trace_id="${traceId}",span_id="${spanId}"}`;
const ofHistogram = (exemplars: readonly PointExemplar[], format: "text" | "openmetrics") => {
  const value = { buckets: { boundaries: [1, 5], counts: [1, 1, 1] }, count: 3, sum: 12 };
  return samples([histogram({ name: "h", points: [{ value, exemplars }] })], format);
};

describe("exemplars in OpenMetrics", () => {
  it("stand behind the bucket that their value is in, the largest where there are several", async () => {
    const exemplars = [exemplar(0.2), exemplar(1), exemplar(0.7), exemplar(99)];
    assert.deepEqual((await ofHistogram(exemplars, "openmetrics")).slice(2), [
      `h_bucket{le="1.0"} 1 ${trace} 1 1700000000.123`,
      'h_bucket{le="5.0"} 2',
      `h_bucket{le="+Inf"} 3 ${trace} 99 1700000000.123`,
    ]);
  });

  it("stand behind a counter, the latest where there are several", async () => {
    const exemplars = [exemplar(1), exemplar(2, { timestampMs: 1_700_000_001_000 }), exemplar(3)];
    const streams = [counter({ name: "c", points: [{ value: 6, exemplars }] })];
    const [line] = await samples(streams, "openmetrics");
    assert.equal(line, `c_total 6 ${trace} 2 1700000001.000`);
  });

  it("are dropped on gauges and in the text format, which do not have them", async () => {
    const exemplars = [exemplar(1)];
    assert.deepEqual(
      await samples([gauge({ name: "g", points: [{ value: 6, exemplars }] })], "openmetrics"),
      ["g 6"],
    );
    assert.deepEqual(await samples([counter({ name: "c", points: [{ value: 6, exemplars }] })]), [
      "c_total 6",
    ]);
    for (const line of await ofHistogram(exemplars, "text")) assert.ok(!line.includes("#"), line);
  });

  it("carry what was filtered out if all labels together have at most 128 characters", async () => {
    const of = async (filteredAttributes: Readonly<Record<string, unknown>>) => {
      const exemplars = [exemplar(1, { filteredAttributes })];
      const [line] = await samples(
        [counter({ name: "c", points: [{ value: 1, exemplars }] })],
        "openmetrics",
      );
      return line?.slice("c_total 1 # ".length, -" 1 1700000000.123".length);
    };
    const own = `trace_id="${traceId}",span_id="${spanId}"`;
    // 63 characters are the trace's: 65 are left.
    const fits = "é".repeat(56);
    assert.equal(await of({ "user.name": fits }), `{${own},user_name="${fits}"}`);
    assert.equal(await of({ "user.name": `${fits}x` }), `{${own}}`);
    const quotes = '"'.repeat(56);
    assert.equal(await of({ "user.name": quotes }), `{${own},user_name="${'\\"'.repeat(56)}"}`);
    assert.equal(await of({ trace_id: "mine" }), `{${own}}`);
  });

  it("that are none are left out, not written wrongly", async () => {
    const bad = [
      exemplar(1, { traceId: "x" }),
      exemplar(1, { traceId: `${"a".repeat(31)}"` }),
      exemplar(1, { spanId: "" }),
      exemplar("1" as unknown as number),
    ];
    for (const one of bad) {
      const streams = [counter({ name: "c", points: [{ value: 6, exemplars: [one] }] })];
      assert.deepEqual(await samples(streams, "openmetrics"), ["c_total 6"]);
    }
    const timeless = [exemplar(1, { timestampMs: Number.NaN })];
    const streams = [counter({ name: "c", points: [{ value: 6, exemplars: timeless }] })];
    assert.deepEqual(await samples(streams, "openmetrics"), [`c_total 6 ${trace} 1`]);
  });
});
