/** Collections that nobody means well with: far too many series, values of a megabyte, series that never come back. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createPrometheusHandler } from "../../../src/prometheus/handler.ts";
import { createPrometheusSerializer } from "../../../src/prometheus/serializer.ts";
import { countHeld } from "../../regression/collect-garbage.ts";
import { collected, counter, exponential, gauge, histogram, write } from "./streams.ts";

const SERIES = 100_000;

describe("100,000 series", () => {
  const points = Array.from({ length: SERIES }, (_, i) => ({ attributes: { id: i }, value: i }));
  const resourceMetrics = collected([gauge({ name: "g", points })]);

  it("are all answered, in chunks, with each format's end", async () => {
    const collector = { collect: () => Promise.resolve({ resourceMetrics, errors: [] }) };
    const handler = createPrometheusHandler(collector);
    for (const accept of ["text/plain", "application/openmetrics-text"]) {
      const response = await handler(new Request("http://localhost/", { headers: { accept } }));
      assert.equal(response.status, 200);
      const lines = (await response.text()).trimEnd().split("\n");
      const samples = lines.filter((line) => !line.startsWith("#"));
      assert.equal(samples.length, SERIES);
      assert.equal(samples.at(-1), `g{id="${SERIES - 1}"} ${SERIES - 1}`);
      assert.equal(lines.at(-1) === "# EOF", accept !== "text/plain");
    }
  });

  it("can be left in the middle", async () => {
    const chunks = createPrometheusSerializer().serialize(resourceMetrics);
    assert.equal((await chunks.next()).done, false);
    await chunks.return();
    assert.equal((await chunks.next()).done, true);
  });
});

describe("a value of a megabyte", () => {
  it("is written in every line that it belongs to, and no chunk is many of them", async () => {
    const attributes = { huge: "x".repeat(1_000_000) };
    const bounds = Array.from({ length: 20 }, (_, i) => i);
    const value = { buckets: { boundaries: bounds, counts: [...bounds, 1] }, count: 191, sum: 1 };
    const metrics = collected([histogram({ name: "h", points: [{ attributes, value }] })]);
    let bytes = 0;
    let largest = 0;
    for await (const chunk of createPrometheusSerializer().serialize(metrics)) {
      bytes += chunk.length;
      largest = Math.max(largest, chunk.length);
    }
    assert.ok(bytes > 23_000_000);
    assert.ok(largest < 1_100_000);
  });
});

describe("series that never come back", () => {
  it("are forgotten with their attributes: the serializer holds none", async () => {
    const serializer = createPrometheusSerializer();
    const held: WeakRef<object>[] = [];
    const scrape = async (round: number) => {
      const points = Array.from({ length: 1_000 }, (_, i) => ({
        attributes: { id: `${round}-${i}` },
        value: i,
      }));
      for (const { attributes } of points) held.push(new WeakRef(attributes));
      for await (const _ of serializer.serialize(collected([gauge({ name: "g", points })]))) {
        // Only the serializer may keep them now.
      }
    };
    for (let round = 0; round < 20; round++) await scrape(round);
    const left = await countHeld(held);
    assert.ok(left <= 1_000, `${left} of ${held.length} attribute objects are held`);
  });
});

describe("any collection at all", () => {
  const anything = fc.anything({ withBigInt: true, withNullPrototype: true, withDate: true });
  const anyName = fc.string({ unit: "binary" });
  const anyPoint = fc.record({
    attributes: fc.dictionary(anyName, anything, { maxKeys: 4 }),
    value: fc.double(),
  });
  const anyStream = fc
    .record({
      name: anyName,
      unit: anyName,
      description: anyName,
      points: fc.array(anyPoint, { maxLength: 4 }),
      make: fc.constantFrom(counter, gauge),
    })
    .map(({ make, ...parts }) => make(parts));
  const label = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*"';
  const sample = new RegExp(
    `^[a-zA-Z_][a-zA-Z0-9_]*(?:\\{${label}(?:,${label})*\\})? (?:-?[0-9].*|NaN|[+-]Inf)$`,
  );
  const comment = /^# (?:HELP|TYPE|UNIT) [a-zA-Z_][a-zA-Z0-9_]* [^\n]*$|^# EOF$/;

  it("becomes lines of the format's grammar, with no series twice", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyStream, { maxLength: 5 }),
        fc.dictionary(anyName, anything, { maxKeys: 3 }),
        fc.constantFrom("text" as const, "openmetrics" as const),
        async (streams, resource, format) => {
          const { lines } = await write(collected(streams, resource), format);
          const seen = new Set<string>();
          for (const line of lines) {
            assert.match(line, line.startsWith("#") ? comment : sample);
            assert.ok(line.isWellFormed() && !line.includes("\0"));
            if (line.startsWith("#")) continue;
            const series = line.slice(0, line.lastIndexOf(" "));
            assert.ok(!seen.has(series), series);
            seen.add(series);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("of exponential histograms has bounds and counts that rise, and counts every sample", async () => {
    const buckets = fc.record({
      offset: fc.integer({ min: -2_000, max: 2_000 }),
      bucketCounts: fc.array(fc.nat({ max: 1_000 }), { maxLength: 40 }),
    });
    const any = fc.record({
      scale: fc.integer({ min: -10, max: 20 }),
      zeroCount: fc.nat({ max: 5 }),
      sum: fc.double({ noNaN: true }),
      positive: buckets,
      negative: buckets,
    });
    await fc.assert(
      fc.asyncProperty(any, async (parts) => {
        const counts = [...parts.positive.bucketCounts, ...parts.negative.bucketCounts];
        const count = counts.reduce((total, n) => total + n, parts.zeroCount);
        const { lines } = await write([
          exponential({ name: "h", points: [{ value: { ...parts, count } }] }),
        ]);
        const shown = lines.flatMap((line) => {
          const match = /^h_bucket\{le="(.*)"\} (\d+)$/.exec(line);
          const bound = match?.[1] === "+Inf" ? Number.POSITIVE_INFINITY : Number(match?.[1]);
          return match === null ? [] : [[bound, Number(match[2])] as const];
        });
        for (const [i, [bound, total]] of shown.entries()) {
          const before = shown[i - 1];
          assert.ok(before === undefined || (before[0] < bound && before[1] <= total));
        }
        assert.equal(shown.at(-1)?.[0], Number.POSITIVE_INFINITY);
        assert.equal(shown.at(-1)?.[1], count);
        assert.ok(lines.includes(`h_count ${count}`));
      }),
      { numRuns: 300 },
    );
  });
});
