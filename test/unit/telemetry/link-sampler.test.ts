import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Link, ROOT_CONTEXT, SpanKind } from "@opentelemetry/api";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  type Sampler,
  SamplingDecision,
} from "@opentelemetry/sdk-trace-base";
import { sampleLinked } from "../../../src/telemetry/bootstrap-sampler.ts";

function link(traceFlags: number): Link {
  return { context: { traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags } };
}

function decisionOf(root: Sampler, links: Link[]): SamplingDecision {
  const sampler = sampleLinked(root);
  const traceId = "1".repeat(32);
  return sampler.shouldSample(ROOT_CONTEXT, traceId, "flush", SpanKind.INTERNAL, {}, links)
    .decision;
}

describe("a sampler that follows links", () => {
  it("records a span that is linked to a sampled one, whatever the root says", () => {
    const links = [link(0), link(1)];
    assert.equal(decisionOf(new AlwaysOffSampler(), links), SamplingDecision.RECORD_AND_SAMPLED);
  });

  it("leaves every other span to the root", () => {
    for (const links of [[], [link(0)]]) {
      assert.equal(decisionOf(new AlwaysOffSampler(), links), SamplingDecision.NOT_RECORD);
      assert.equal(decisionOf(new AlwaysOnSampler(), links), SamplingDecision.RECORD_AND_SAMPLED);
    }
  });

  it("says what it is", () => {
    assert.equal(`${sampleLinked(new AlwaysOnSampler())}`, "LinkSampler{AlwaysOnSampler}");
  });
});
