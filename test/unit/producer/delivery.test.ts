import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ErrorCode, ErrorKind, ErrorOutcome } from "../../../src/core/errors.ts";
import {
  type Attempt,
  batchAtFault,
  deadlineError,
  judge,
  type Verdict,
  withUnknownOutcome,
} from "../../../src/producer/delivery.ts";
import { fault } from "./fake-agents.ts";

const fresh: Attempt = { idempotent: true, tainted: false, topicRefreshed: false, first: true };

describe("judge()", () => {
  const cases: [ErrorCode, ErrorKind, ErrorOutcome, Partial<Attempt>, Verdict][] = [
    ["OVERLOADED", "unavailable", "none", {}, "retry"],
    ["OVERLOADED", "unavailable", "none", { idempotent: false }, "retry"],
    ["AGENT_UNREACHABLE", "unavailable", "unknown", {}, "retry"],
    ["AGENT_UNREACHABLE", "unavailable", "unknown", { idempotent: false }, "give-up"],
    ["DEADLINE_EXCEEDED", "unavailable", "none", { idempotent: false }, "retry"],
    ["INTERNAL", "internal", "none", {}, "give-up"],
    ["INTERNAL", "internal", "unknown", {}, "retry"],
    ["RECORD_TOO_LARGE", "invalid", "none", {}, "give-up"],
    ["CLOSED", "closed", "unknown", {}, "give-up"],
    ["TOPIC_NOT_FOUND", "invalid", "none", {}, "refresh-topic"],
    ["TOPIC_NOT_FOUND", "invalid", "none", { topicRefreshed: true }, "give-up"],
    ["UNKNOWN_PRODUCER", "unavailable", "none", {}, "renew-identity"],
    ["UNKNOWN_PRODUCER", "unavailable", "none", { first: false, tainted: true }, "retry"],
    ["UNKNOWN_PRODUCER", "unavailable", "none", { tainted: true }, "give-up"],
    ["PRODUCER_FENCED", "fenced", "none", {}, "renew-identity"],
    ["PRODUCER_FENCED", "fenced", "none", { tainted: true }, "give-up"],
    ["SEQUENCE_GAP", "unavailable", "none", { first: false }, "retry"],
  ];
  for (const [code, kind, outcome, more, verdict] of cases) {
    const attempt = { ...fresh, ...more };
    const about = Object.entries(more).map(([key, value]) => `${key} ${value}`);
    it(`${code} with outcome ${outcome}${about.length > 0 ? ` (${about.join(", ")})` : ""}: ${verdict}`, () => {
      assert.equal(judge(fault(code, kind, { outcome }), attempt), verdict);
    });
  }

  it("gives a batch up whose sequence was written long ago", () => {
    const behind = fault("SEQUENCE_GAP", "unavailable", { retriable: false });
    assert.equal(judge(behind, fresh), "give-up");
  });
});

describe("final errors", () => {
  it("say how long, where, whether it was written, and why", () => {
    const last = fault("AGENT_UNREACHABLE", "unavailable", { message: "no agent at a:1" });
    const error = deadlineError("orders/3", 120_000, last, "none");
    assert.equal(error.cause, last);
    assert.match(
      error.message,
      /orders\/3 .* 120000 ms \(they were not written\).*no agent at a:1/,
    );
    assert.match(deadlineError("t/0", 5, undefined, "unknown").message, /may have been written/);
  });

  it("become unknown when an earlier attempt may have been written", () => {
    const refused = fault("STORE_FULL", "unavailable", { retryAfterMs: 5 });
    const error = withUnknownOutcome(refused);
    assert.deepEqual([error.code, error.outcome, error.retryAfterMs], ["STORE_FULL", "unknown", 5]);
    assert.equal(withUnknownOutcome(error), error);
  });

  it("name the batch at fault by their field", () => {
    assert.equal(
      batchAtFault(fault("CORRUPT_BATCH", "corrupt", { field: "batches[12].records" })),
      12,
    );
    assert.equal(batchAtFault(fault("CORRUPT_BATCH", "corrupt", { field: "acks" })), undefined);
    assert.equal(batchAtFault(fault("CORRUPT_BATCH", "corrupt")), undefined);
  });
});
