/** The programs of `bench/` run, and answer a figure for whatever is asked for. What the figures are is no test's business. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { runtimePath } from "../../scripts/runtimes.ts";
import { command } from "./packed.ts";

interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly median: number;
  readonly interval95?: readonly [number, number];
  readonly also?: Readonly<Record<string, { readonly median: number }>>;
}

async function figuresOf(only: string): Promise<readonly Figure[]> {
  const args = ["bench/main.ts", "--quick", "--json", "--only", only];
  const ran = await command(runtimePath("node"), args);
  assert.equal(ran.code, 0, ran.stderr);
  const [header, ...figures] = ran.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Figure & { readonly header?: unknown });
  assert.ok(header?.header, "the first line is not the machine's");
  for (const { name, median } of figures) assert.ok(Number.isFinite(median), `${name}: ${median}`);
  return figures;
}

describe("npm run bench", () => {
  it("compares throughput in pairs, with its interval", async () => {
    const figures = await figuresOf(
      "telemetry-embedded-produce-none,telemetry-embedded-consume-none,telemetry-grpc-produce-on",
    );
    assert.deepEqual(
      figures.map((figure) => [figure.name, figure.unit]),
      [
        ["telemetry-embedded-produce-none", "ratio"],
        ["telemetry-embedded-consume-none", "ratio"],
        ["telemetry-grpc-produce-on", "ratio"],
      ],
    );
    for (const { interval95, also } of figures) {
      assert.equal(interval95?.length, 2);
      assert.ok(also?.wall !== undefined && also["ns more a record"] !== undefined);
    }
  });

  it("measures calls, scrapes, memory and allocation against the other libraries", async () => {
    const groups = ["counter", "histogram", "scrape-220", "series-heap", "memory", "allocation"];
    const figures = await figuresOf(groups.map((group) => `telemetry-${group}`).join(","));
    for (const group of groups) {
      const own = figures.filter((figure) => figure.name.startsWith(`telemetry-${group}-`));
      assert.ok(own.length >= 2, `${own.length} figures for ${group}`);
      assert.ok(own.every((figure) => figure.median > 0 || group === "allocation"));
    }
  });

  it("says what there is when asked for what there is not", async () => {
    const ran = await command(runtimePath("node"), ["bench/main.ts", "--only", "no-such-figure"]);
    assert.equal(ran.code, 2);
    assert.match(ran.stderr, /no figure is called "no-such-figure": there are .*telemetry-scrape/);
  });
});
