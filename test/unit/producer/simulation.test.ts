/**
 * Random faults against the whole producer, on a clock that the test owns. Whatever agents do (refuse, answer late, lose answers, move
 * partitions), every record settles exactly once, and the log holds what the callers were told. A failing run prints its seed.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { StreamHouseError } from "../../../src/core/errors.ts";
import type { SendResult } from "../../../src/producer/send-result.ts";
import { type FakeCluster, fault, type Reaction } from "./fake-agents.ts";
import { type Setup, setUp } from "./setup.ts";

const PARTITIONS = 3;

/** One decision for each request, in the order in which they come. */
type Fault =
  | { readonly kind: "fine" }
  | { readonly kind: "late"; readonly ms: number }
  | {
      readonly kind: "refused";
      readonly code: "OVERLOADED" | "STORE_UNAVAILABLE" | "AGENT_DRAINING";
    }
  | { readonly kind: "refusedBatches" }
  | { readonly kind: "moved"; readonly to: number }
  | { readonly kind: "answerLost"; readonly ms: number }
  | { readonly kind: "requestLost"; readonly ms: number }
  | { readonly kind: "bad" };

const faults = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Fault>({ kind: "fine" }) },
  { weight: 3, arbitrary: fc.nat(40).map((ms): Fault => ({ kind: "late", ms })) },
  {
    weight: 3,
    arbitrary: fc
      .constantFrom("OVERLOADED" as const, "STORE_UNAVAILABLE" as const, "AGENT_DRAINING" as const)
      .map((code): Fault => ({ kind: "refused", code })),
  },
  { weight: 2, arbitrary: fc.constant<Fault>({ kind: "refusedBatches" }) },
  { weight: 2, arbitrary: fc.nat(1).map((to): Fault => ({ kind: "moved", to })) },
  { weight: 3, arbitrary: fc.nat(60).map((ms): Fault => ({ kind: "answerLost", ms })) },
  { weight: 3, arbitrary: fc.nat(60).map((ms): Fault => ({ kind: "requestLost", ms })) },
  { weight: 1, arbitrary: fc.constant<Fault>({ kind: "bad" }) },
);

const plan = fc.record({
  seed: fc.integer({ min: 1, max: 2 ** 30 }),
  faults: fc.array(faults, { maxLength: 60 }),
  /** For each step: partitions to send one record to, and how long to wait then. */
  steps: fc.array(
    fc.record({
      partitions: fc.array(fc.nat(PARTITIONS - 1), { maxLength: 12 }),
      waitMs: fc.nat(30),
    }),
    { minLength: 1, maxLength: 25 },
  ),
  batchBytes: fc.constantFrom(100, 200, 100_000),
  inFlight: fc.integer({ min: 1, max: 5 }),
  deliveryTimeoutMs: fc.constantFrom(150, 600, 30_000),
});

interface Outcome {
  readonly value: string;
  readonly partition: number;
  readonly result?: SendResult;
  readonly error?: StreamHouseError;
}

function script(setup: Setup, decisions: readonly Fault[]): void {
  const { cluster, clock } = setup;
  const after = (ms: number) => new Promise<void>((done) => clock.schedule(ms, done));
  let nth = 0;
  for (const agent of cluster.agents) {
    agent.script = (request): Reaction => {
      const decision = decisions[nth++] ?? { kind: "fine" };
      const isHere = request.batches.every(
        ({ topicId, partition }) =>
          (cluster.holders.get(`${topicId}/${partition}`) ?? cluster.agent) === agent,
      );
      if (!isHere) return { reject: fault("NOT_LEASE_HOLDER", "unavailable") };
      switch (decision.kind) {
        case "fine":
          return {};
        case "late":
          return { until: after(decision.ms) };
        case "refused":
          return { reject: fault(decision.code) };
        case "refusedBatches":
          return { batchError: fault("STORE_UNAVAILABLE"), apply: false };
        case "moved": {
          const to = cluster.agents[decision.to];
          for (const { topicId, partition } of request.batches) {
            if (to !== undefined) cluster.holders.set(`${topicId}/${partition}`, to);
          }
          return to === agent
            ? {}
            : { reject: fault("NOT_LEASE_HOLDER", "unavailable", { holderAddress: to?.address }) };
        }
        case "answerLost":
          return {
            apply: true,
            until: after(decision.ms),
            reject: fault("AGENT_UNREACHABLE", "unavailable", { outcome: "unknown" }),
          };
        case "requestLost":
          return {
            until: after(decision.ms),
            reject: fault("AGENT_UNREACHABLE", "unavailable", { outcome: "unknown" }),
          };
        case "bad":
          return { reject: fault("TIMESTAMP_OUT_OF_BOUNDS", "invalid") };
      }
    };
  }
}

async function run(
  input: typeof plan extends fc.Arbitrary<infer P> ? P : never,
  idempotent: boolean,
) {
  const { seed, batchBytes, inFlight, deliveryTimeoutMs } = input;
  const options = { idempotent, batchBytes, inFlight, deliveryTimeoutMs, retryBackoffMs: 20 };
  const setup = setUp(options, { agents: 2, seed });
  const { cluster, clock, producer } = setup;
  const topic = cluster.addTopic("t", PARTITIONS);
  script(setup, input.faults);
  const outcomes: Outcome[] = [];
  let sent = 0;
  for (const step of input.steps) {
    for (const partition of step.partitions) {
      const value = `${partition}:${sent++}`;
      producer.send({ topic: "t", partition, value }).then(
        (result) => outcomes.push({ value, partition, result }),
        (error) => outcomes.push({ value, partition, error }),
      );
    }
    await clock.run(step.waitMs);
  }
  let flushed = false;
  void producer.flush().then(() => {
    flushed = true;
  });
  await clock.run(40_000);
  assert.equal(flushed, true, "flush() must end");
  assert.equal(producer.pending, 0);
  assert.equal(outcomes.length, sent, "every send settles exactly once");
  await producer.close();
  assert.equal(clock.pending, 0, "no timer is left");
  return { outcomes, cluster, topicId: topic.id };
}

function checkLog(
  outcomes: readonly Outcome[],
  cluster: FakeCluster,
  topicId: string,
  exactlyOnce: boolean,
): void {
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const log = cluster.log.values(topicId, partition);
    const own = outcomes.filter((it) => it.partition === partition);
    const places = new Map<string, number[]>();
    log.forEach((value, i) => {
      places.set(value, [...(places.get(value) ?? []), i]);
    });
    for (const { value, result, error } of own) {
      const at = places.get(value) ?? [];
      if (result !== undefined) {
        assert.deepEqual(at, [result.offset], `${value} was acknowledged: once, at its offset`);
      } else {
        assert.ok(StreamHouseError.is(error));
        const most = error.outcome === "none" ? 0 : 1;
        assert.ok(
          at.length <= most,
          `${value} failed (${error.outcome}) and is there ${at.length} times`,
        );
      }
    }
    if (exactlyOnce) {
      const numbers = log.map((value) => Number(value.split(":")[1]));
      const sorted = [...numbers].sort((a, b) => a - b);
      assert.deepEqual(numbers, sorted, "records are in the order of the send() calls");
    }
  }
}

describe("a producer under random faults", () => {
  it("with idempotence: each acknowledged record is in the log once, in order, at its offset; no record that failed with outcome none is", async () => {
    await fc.assert(
      fc.asyncProperty(plan, async (input) => {
        const { outcomes, cluster, topicId } = await run(input, true);
        checkLog(outcomes, cluster, topicId, true);
      }),
      { numRuns: 300 },
    );
  });

  it("without idempotence: nothing is re-sent after an unknown outcome, and order is kept all the same", async () => {
    await fc.assert(
      fc.asyncProperty(plan, async (input) => {
        const { outcomes, cluster, topicId } = await run(input, false);
        checkLog(outcomes, cluster, topicId, true);
      }),
      { numRuns: 200 },
    );
  });
});
