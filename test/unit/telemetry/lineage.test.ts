import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SpanContext } from "@opentelemetry/api";
import { Lineage, linksMax } from "../../../src/telemetry/lineage.ts";

let spans = 0;
function spanOf(trace: string, traceFlags = 1): SpanContext {
  spans += 1;
  return { traceId: trace.repeat(32), spanId: spans.toString(16).padStart(16, "0"), traceFlags };
}

function lineageOf(contexts: readonly (SpanContext | undefined)[]): Lineage {
  const lineage = new Lineage();
  for (const context of contexts) lineage.add(context);
  return lineage;
}

describe("the lineage of a batch", () => {
  it("makes a batch of one trace part of it, and links the other sends", () => {
    const [a, b] = [spanOf("1"), spanOf("1")];
    const lineage = lineageOf([a, b]);
    assert.equal(lineage.parent, a);
    assert.deepEqual(lineage.links, [{ context: b }]);
  });

  it("gives a mixed batch no parent and links to all its sampled sends", () => {
    const [a, b, unsampled] = [spanOf("1"), spanOf("2"), spanOf("3", 0)];
    const lineage = lineageOf([a, b, unsampled]);
    assert.equal(lineage.parent, undefined);
    assert.deepEqual(lineage.links, [{ context: a }, { context: b }]);
  });

  it("gives no parent when one record has no context", () => {
    const a = spanOf("1");
    for (const members of [
      [a, undefined],
      [undefined, a],
    ]) {
      const lineage = lineageOf(members);
      assert.equal(lineage.parent, undefined);
      assert.deepEqual(lineage.links, [{ context: a }]);
    }
  });

  it("links one context once when records in a row share it", () => {
    const a = spanOf("1");
    const b = spanOf("2");
    assert.deepEqual(lineageOf([a, a, a, b]).links, [{ context: a }, { context: b }]);
  });

  it("counts the links beyond the limit", () => {
    const lineage = lineageOf(Array.from({ length: linksMax + 3 }, (_, i) => spanOf(`${i % 2}`)));
    assert.equal(lineage.links.length, linksMax);
    assert.equal(lineage.unlinked, 3);
  });
});
