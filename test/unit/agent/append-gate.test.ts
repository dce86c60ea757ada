/** The door of the append path, with the rooms behind it replaced: what it says when something behind it fails. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppendGate, type AppendGateComponents } from "../../../src/agent/append-gate.ts";
import { ByteBudget } from "../../../src/agent/byte-budget.ts";
import { readBatchHeader } from "../../../src/format/batch-header.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { batchOf, failureOf } from "./bench-agent.ts";

const topic = { id: "t-id", name: "t", partitions: 3, retentionMs: 0, createdAtMs: 0 };

function checked(partition: number) {
  const bytes = batchOf(["x"]);
  return { topic, partition, bytes, header: readBatchHeader(bytes) };
}

function gateWith(get: (partition: number) => unknown) {
  const clock = new ManualClock();
  const budget = new ByteBudget(1_000_000);
  const components = {
    ...{ clock, budget },
    holdings: { get: (_: string, partition: number) => get(partition) },
    lease: { runId: "r", isValid: () => true },
    view: { whereIs: () => ({ address: "b:1", comesHere: false }) },
    proof: { stands: async () => true },
  } as unknown as AppendGateComponents;
  return { gate: new AppendGate(components), budget, clock };
}

const terms = {
  ...{ durable: true, receivedAt: 0, deadlineAt: 1_000, timeoutMs: 1_000 },
  ...{ signal: undefined, spanContext: undefined },
};

describe("the append gate", () => {
  it("keeps no room for a batch that could not be taken in because something broke", async () => {
    const { gate, budget } = gateWith(() => {
      throw new TypeError("broken");
    });
    const error = await failureOf(gate.append([checked(0)], terms));
    assert.equal(error.code, "INTERNAL");
    assert.equal(budget.used, 0);
  });

  it("answers for the others all the same", async () => {
    const { gate, budget } = gateWith((partition) => {
      if (partition === 1) throw new TypeError("broken");
      return undefined;
    });
    const error = await failureOf(gate.append([checked(0), checked(1), checked(2)], terms));
    assert.equal(error.code, "NOT_LEASE_HOLDER", "the first one's");
    assert.equal(budget.used, 0);
  });
});
