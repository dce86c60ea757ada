import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { metricsDoc, metricsDocPath } from "../../../scripts/metrics-doc.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";

describe("docs/metrics.md", () => {
  it("is what the catalogue says", () => {
    const text = readFileSync(metricsDocPath, "utf8").replaceAll("\r\n", "\n");
    assert.equal(text, metricsDoc(), "run `node scripts/metrics-doc.ts`");
  });

  it("has every instrument once", () => {
    for (const { name } of Object.values(catalogue)) {
      assert.equal(metricsDoc().split(`| \`${name}\` |`).length, 2, name);
    }
  });
});
