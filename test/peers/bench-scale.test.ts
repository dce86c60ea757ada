/**
 * The figures about many agents are measured over a real PostgreSQL and a real bucket, and the requests that are counted there are
 * bounded by the flush interval, however busy the machine is.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { runtimePath } from "../../scripts/runtimes.ts";
import { command } from "../package/packed.ts";

interface Figure {
  readonly name: string;
  readonly median: number;
  readonly also: Readonly<Record<string, { readonly median: number }>>;
}

describe("npm run bench -- --only scale", () => {
  it("counts no more PUTs on the wire than the interval allows, with a thousand partitions", async () => {
    const only = "scale-produce-1-1,scale-cost-200ms";
    const args = ["bench/main.ts", "--quick", "--json", "--only", only];
    const ran = await command(runtimePath("node"), args);
    assert.equal(ran.code, 0, ran.stderr);
    const figures = ran.stdout
      .trim()
      .split("\n")
      .slice(1)
      .map((line) => JSON.parse(line) as Figure);
    assert.deepEqual(
      figures.map(({ name }) => name),
      only.split(","),
    );
    assert.ok((figures[0]?.median ?? 0) > 0);
    const puts = figures.at(-1)?.also["PUT/h"]?.median ?? Number.NaN;
    // One each 200 ms, and one more for the window's edge of 5 s.
    assert.ok(puts > 0 && puts <= 18_000 + 3_600 / 5, `${puts} PUTs an hour`);
  });
});
