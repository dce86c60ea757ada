import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MetricStream } from "../../../src/prometheus/collected.ts";
import {
  collected,
  counter,
  exponential,
  gauge,
  histogram,
  samples,
  scopes,
  upDownCounter,
  write,
} from "./streams.ts";

const point = (value: unknown, attributes = {}) => ({ attributes, value });

describe("a family in the text format", () => {
  it("is HELP, TYPE and samples, a counter under its full name", async () => {
    const streams = [
      counter({
        name: "jobs.done",
        unit: "{job}",
        description: 'a "b" \\ \n c',
        points: [point(2)],
      }),
      upDownCounter({ name: "jobs", points: [point(-1)] }),
      gauge({ name: "load", unit: "1", description: "Load", points: [point(0.5)] }),
    ];
    assert.deepEqual((await write(streams)).lines, [
      '# HELP jobs_done_total a "b" \\\\ \\n c',
      "# TYPE jobs_done_total counter",
      "jobs_done_total 2",
      "# TYPE jobs gauge",
      "jobs -1",
      "# HELP load_ratio Load",
      "# TYPE load_ratio gauge",
      "load_ratio 0.5",
    ]);
  });

  it("of a histogram has count, sum and cumulative buckets up to +Inf", async () => {
    const value = { buckets: { boundaries: [0.5, 1, 1 / 0], counts: [1, 2, 4] }, count: 7, sum: 9 };
    assert.deepEqual(
      (await write([histogram({ name: "h", unit: "s", points: [point(value)] })])).lines,
      [
        "# TYPE h_seconds histogram",
        "h_seconds_count 7",
        "h_seconds_sum 9",
        'h_seconds_bucket{le="0.5"} 1',
        'h_seconds_bucket{le="1"} 3',
        'h_seconds_bucket{le="+Inf"} 7',
      ],
    );
  });

  it("of a histogram without samples or without buckets is whole all the same", async () => {
    const empty = { buckets: { boundaries: [1], counts: [0, 0] }, count: 0, sum: 0 };
    const none = { buckets: { boundaries: [], counts: [] }, count: 3, sum: 4 };
    const points = [point(empty, { a: "1" }), point(none, { a: "2" })];
    assert.deepEqual(await samples([histogram({ name: "h", points })]), [
      'h_count{a="1"} 0',
      'h_sum{a="1"} 0',
      'h_bucket{a="1",le="1"} 0',
      'h_bucket{a="1",le="+Inf"} 0',
      'h_count{a="2"} 3',
      'h_sum{a="2"} 4',
      'h_bucket{a="2",le="+Inf"} 3',
    ]);
  });

  it("writes what is no finite number, and no time stamps", async () => {
    const points = [point(Number.NaN, { a: "1" }), point(1 / 0, { a: "2" }), point(-1 / 0)];
    assert.deepEqual(await samples([gauge({ name: "g", points })]), [
      'g{a="1"} NaN',
      'g{a="2"} +Inf',
      "g -Inf",
    ]);
  });

  it("is not there at all without points", async () => {
    assert.deepEqual((await write([gauge({ name: "g", description: "x", points: [] })])).lines, []);
  });
});

describe("a family in OpenMetrics", () => {
  it("has its UNIT, a counter under its base name, bounds as floats, and an end", async () => {
    const value = { buckets: { boundaries: [1, 2.5], counts: [1, 0, 0] }, count: 1, sum: 0.5 };
    const streams = [
      counter({ name: "disk.io", unit: "By", description: 'a "b"', points: [point(2)] }),
      histogram({ name: "h", unit: "s", points: [point(value)] }),
      gauge({ name: "n", unit: "{job}", points: [point(1)] }),
    ];
    assert.deepEqual((await write(streams, "openmetrics")).lines, [
      '# HELP disk_io_bytes a \\"b\\"',
      "# TYPE disk_io_bytes counter",
      "# UNIT disk_io_bytes bytes",
      "disk_io_bytes_total 2",
      "# TYPE h_seconds histogram",
      "# UNIT h_seconds seconds",
      "h_seconds_count 1",
      "h_seconds_sum 0.5",
      'h_seconds_bucket{le="1.0"} 1',
      'h_seconds_bucket{le="2.5"} 1',
      'h_seconds_bucket{le="+Inf"} 1',
      "# TYPE n gauge",
      "n 1",
      "# EOF",
    ]);
  });

  it("has neither sum nor count of a histogram whose sum can fall; text has the count", async () => {
    const value = { buckets: { boundaries: [-1, 1], counts: [1, 0, 0] }, count: 1, sum: -2 };
    const streams = [histogram({ name: "h", points: [point(value)] })];
    const buckets = ["h_bucket", "h_bucket", "h_bucket"];
    const names = (lines: readonly string[]) => lines.map((line) => line.split(/[{ ]/)[0]);
    assert.deepEqual(names(await samples(streams, "openmetrics")), buckets);
    assert.deepEqual(names(await samples(streams)), ["h_count", ...buckets]);
  });

  it("has no sum either where only a sample was below zero, or the sum is no number", async () => {
    const of = (more: { sum: number; min?: number }) => {
      const value = { buckets: { boundaries: [1], counts: [2, 0] }, count: 2, ...more };
      return samples([histogram({ name: "h", points: [point(value)] })]);
    };
    const hasSum = async (more: { sum: number; min?: number }) =>
      (await of(more)).some((line) => line.startsWith("h_sum"));
    assert.equal(await hasSum({ sum: -0.5 }), false);
    assert.equal(await hasSum({ sum: 0.5, min: -1 }), false);
    assert.equal(await hasSum({ sum: Number.NaN }), false);
    assert.equal(await hasSum({ sum: 0.5, min: 0 }), true);
  });

  it("leaves out counters that no counter can be, and says so once", async () => {
    const points = [point(Number.NaN, { a: "1" }), point(-1, { a: "2" }), point(0, { a: "3" })];
    const { lines, notices } = await write([counter({ name: "c", points })], "openmetrics");
    assert.deepEqual(lines.slice(1), ['c_total{a="3"} 0', "# EOF"]);
    assert.deepEqual(notices.length, 1);
    assert.equal((await samples([counter({ name: "c", points })])).length, 3);
  });

  it("keeps the samples of a counter and a gauge of one name, which text can tell apart", async () => {
    const streams = [
      counter({ name: "x", points: [point(1)] }),
      gauge({ name: "x", points: [point(2)] }),
    ];
    assert.deepEqual((await write(streams, "openmetrics")).lines, [
      "# TYPE x_total unknown",
      "x_total 1",
      "# TYPE x gauge",
      "x 2",
      "# EOF",
    ]);
    assert.deepEqual((await write(streams)).lines, [
      "# TYPE x_total counter",
      "x_total 1",
      "# TYPE x gauge",
      "x 2",
    ]);
  });
});

describe("streams of one name", () => {
  const a = { name: "a", version: "1" };
  const b = { name: "b", schemaUrl: "https://x" };

  it("are one family with one TYPE and the first description, whoever made them", async () => {
    const of = (description: string, value: number) =>
      counter({ name: "c", description, points: [point(value, { k: "1" })] });
    const metrics = scopes([a, [of("first", 1)]], [b, [of("second", 2)]]);
    const { lines, notices } = await write(metrics);
    assert.deepEqual(lines, ["# HELP c_total first", "# TYPE c_total counter", 'c_total{k="1"} 3']);
    assert.match(notices.join(), /^c: c_total has another description/);
  });

  it("keep apart with scope labels", async () => {
    const of = (value: number) =>
      gauge({ name: "g", points: [point(value, { otel_scope_name: "x" })] });
    const metrics = scopes([a, [of(1)]], [b, [of(2)]]);
    assert.deepEqual(await samples(metrics, "text", { scopeLabels: true }), [
      'g{exported_otel_scope_name="x",otel_scope_name="a",otel_scope_version="1"} 1',
      'g{exported_otel_scope_name="x",otel_scope_name="b",otel_scope_schema_url="https://x"} 2',
    ]);
  });

  it("carry the scope's attributes with its labels", async () => {
    const scope = { name: "a", attributes: { "team.name": "x", name: "not this" } };
    const metrics = scopes([scope, [gauge({ name: "g", points: [point(1)] })]]);
    assert.deepEqual(await samples(metrics, "text", { scopeLabels: true }), [
      'g{otel_scope_name="a",otel_scope_team_name="x"} 1',
    ]);
  });

  it("of two types are not mixed: the first is shown, the other left out and said", async () => {
    const value = { buckets: { boundaries: [], counts: [1] }, count: 1, sum: 1 };
    const streams = [
      gauge({ name: "x", points: [point(1)] }),
      histogram({ name: "x", points: [point(value)] }),
      gauge({ name: "y_total", points: [point(1)] }),
      counter({ name: "y", points: [point(2)] }),
    ];
    for (const format of ["text", "openmetrics"] as const) {
      const { lines, notices } = await write(streams, format);
      const shown = lines.filter((line) => line !== "# EOF");
      assert.deepEqual(shown, ["# TYPE x gauge", "x 1", "# TYPE y_total gauge", "y_total 1"]);
      assert.deepEqual(notices, [
        "x: left out: x is a gauge of another instrument",
        "y: left out: y_total is a gauge of another instrument",
      ]);
    }
  });

  it("that are another family's samples are left out and said", async () => {
    const value = { buckets: { boundaries: [], counts: [1] }, count: 1, sum: 1 };
    const streams = [
      histogram({ name: "x", points: [point(value)] }),
      gauge({ name: "x.count", points: [point(1)] }),
      gauge({ name: "target_info", points: [point(1)] }),
    ];
    const { lines, notices } = await write(streams);
    assert.deepEqual(lines, [
      "# TYPE x histogram",
      "x_count 1",
      "x_sum 1",
      'x_bucket{le="+Inf"} 1',
    ]);
    assert.equal(notices.length, 2);
  });
});

describe("what cannot be written", () => {
  const delta = (stream: MetricStream): MetricStream => ({ ...stream, aggregationTemporality: 0 });

  it("is said once, however many scrapes there are, and harms nothing else", async () => {
    const streams = [
      delta(counter({ name: "d", points: [point(1)] })),
      { ...gauge({ name: "odd", points: [point(1)] }), dataPointType: 9 },
      gauge({ name: "...", points: [point(1)] }),
      delta(gauge({ name: "fine", points: [point(1)] })),
    ];
    const { lines, notices } = await write(streams);
    assert.deepEqual(lines, ["# TYPE fine gauge", "fine 1"]);
    assert.deepEqual(
      notices.map((notice) => notice.replace(/: .*/, "")),
      ["d", "odd", "..."],
    );
  });

  it("is said to whom it may concern, who may throw", async () => {
    const onNotice = () => {
      throw new Error("no");
    };
    const streams = [delta(counter({ name: "d", points: [point(1)] }))];
    assert.deepEqual((await write(streams, "text", { onNotice })).lines, []);
  });
});

describe("an exponential histogram", () => {
  const none = { offset: 0, bucketCounts: [] };

  it("becomes one with fixed buckets, which hold every sample", async () => {
    const value = {
      count: 10,
      sum: 30,
      scale: 0,
      zeroCount: 1,
      positive: { offset: -1, bucketCounts: [2, 3, 4] },
      negative: none,
    };
    assert.deepEqual(await samples([exponential({ name: "h", points: [point(value)] })]), [
      "h_count 10",
      "h_sum 30",
      'h_bucket{le="0"} 1',
      'h_bucket{le="1"} 3',
      'h_bucket{le="2"} 6',
      'h_bucket{le="4"} 10',
      'h_bucket{le="+Inf"} 10',
    ]);
  });

  it("is brought to four buckets for each power of two, so that bounds do not wander", async () => {
    const bounds = async (scale: number, offset: number, bucketCounts: number[]) => {
      const positive = { offset, bucketCounts };
      const value = { count: 8, sum: 9, scale, zeroCount: 0, positive, negative: none };
      const lines = await samples([exponential({ name: "h", points: [point(value)] })]);
      return lines.slice(2).map((line) => line.replace(/^.*le="(.*)"\} /, "$1 "));
    };
    const coarse = await bounds(2, 0, [3, 5]);
    assert.deepEqual(coarse, [`${2 ** 0.25} 3`, `${2 ** 0.5} 8`, "+Inf 8"]);
    assert.deepEqual(await bounds(4, 0, [1, 1, 1, 0, 1, 1, 1, 2]), coarse);
  });

  it("with samples below zero has their buckets, and no sum", async () => {
    const value = {
      count: 4,
      sum: -5,
      scale: 0,
      zeroCount: 0,
      positive: { offset: 0, bucketCounts: [1] },
      negative: { offset: 0, bucketCounts: [1, 2] },
    };
    assert.deepEqual(await samples([exponential({ name: "h", points: [point(value)] })]), [
      "h_count 4",
      'h_bucket{le="-2"} 2',
      'h_bucket{le="-1"} 3',
      'h_bucket{le="0"} 3',
      'h_bucket{le="2"} 4',
      'h_bucket{le="+Inf"} 4',
    ]);
  });

  it("beyond the range of a double ends in +Inf", async () => {
    const positive = { offset: 1022, bucketCounts: [1, 2, 3] };
    const value = { count: 6, sum: 1 / 0, scale: 0, zeroCount: 0, positive, negative: none };
    assert.deepEqual(
      (await samples([exponential({ name: "h", points: [point(value)] })])).slice(2),
      [`h_bucket{le="${2 ** 1023}"} 1`, 'h_bucket{le="+Inf"} 6'],
    );
  });
});

describe("a whole collection", () => {
  it("comes in chunks, and the event loop has its turns in between", async () => {
    const points = Array.from({ length: 30_000 }, (_, i) => point(i, { series: `number ${i}` }));
    const metrics = collected([gauge({ name: "g", points })]);
    const { createPrometheusSerializer } = await import("../../../src/prometheus/serializer.ts");
    let turns = 0;
    let running = true;
    const count = () => {
      turns += 1;
      if (running) setTimeout(count, 0);
    };
    count();
    const sizes: number[] = [];
    for await (const chunk of createPrometheusSerializer().serialize(metrics)) {
      sizes.push(chunk.length);
    }
    running = false;
    assert.ok(turns > 3, `${turns} turns`);
    assert.ok(Math.max(...sizes) < 40_000);
    assert.ok(sizes.length > 20);
  });
});
