/** A partition that moves between agents while batches are on their way: order, patience, and what it means for other partitions. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type FakeAgent, type FakeCluster, fault } from "./fake-agents.ts";
import { errorOf, resultOf, setUp, watch } from "./setup.ts";

const movedTo = (agent: FakeAgent | undefined) =>
  fault("NOT_LEASE_HOLDER", "unavailable", { holderAddress: agent?.address });

function agentOf(cluster: FakeCluster, i: number): FakeAgent {
  const agent = cluster.agents[i];
  assert.ok(agent);
  return agent;
}

/** A promise that the test keeps waiting. */
function gate(): { readonly until: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { until: promise, open: resolve };
}

describe("a partition that moved to another agent", () => {
  it("is sent to the named holder at once, in order, when everything on its way to the old one has come back", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0, inFlight: 3 }, { agents: 2 });
    const { id } = cluster.addTopic("t");
    const [old, next] = [agentOf(cluster, 0), agentOf(cluster, 1)];
    const gates = [gate(), gate(), gate()];
    old.script = (_request, _call, nth) => ({
      reject: movedTo(next),
      until: gates[nth - 1]?.until ?? Promise.resolve(),
    });
    const sent = [];
    for (const value of ["a", "b", "c"]) {
      sent.push(producer.send({ topic: "t", value }));
      await clock.run(1);
    }
    assert.equal(old.open, 3);
    for (const answered of [gates[2], gates[0], gates[1]]) {
      assert.equal(next.requests.length, 0, "nothing overtakes what is on its way");
      answered?.open();
      await clock.run(1);
    }
    // Without a pause: the old holder said where to go.
    await clock.run(5);
    const offsets = (await Promise.all(sent)).map((it) => it.offset);
    assert.deepEqual(offsets, [0, 1, 2]);
    assert.deepEqual(cluster.log.values(id, 0), ["a", "b", "c"]);
    assert.equal(old.requests.length, 3);
    await clock.until(producer.close());
  });

  it("is waited for at an agent that is about to take it, without asking anybody else", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0 }, { agents: 2 });
    cluster.addTopic("t");
    const [old, next] = [agentOf(cluster, 0), agentOf(cluster, 1)];
    old.script = () => ({ reject: movedTo(next) });
    const { address: holderAddress } = next;
    const soon = fault("NOT_LEASE_HOLDER", "unavailable", { retryAfterMs: 50, holderAddress });
    next.script = (_request, _call, nth) => (nth <= 2 ? { reject: soon } : {});
    let asked = 0;
    cluster.onHolder = () => asked++;
    const begun = clock.monotonic();
    assert.equal((await clock.until(producer.send({ topic: "t", value: "x" }))).offset, 0);
    const tookMs = clock.monotonic() - begun;
    assert.equal(asked, 2, "the first time, and when it moved");
    assert.ok(tookMs >= 100 && tookMs < 400, `${tookMs} ms: soon, and not at once again and again`);
    await clock.until(producer.close());
  });

  it("is not taken for lost again because of what the agent that was left says late", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0, inFlight: 3 }, { agents: 2 });
    cluster.addTopic("t");
    const [old, next] = [agentOf(cluster, 0), agentOf(cluster, 1)];
    const gates = [gate(), gate()];
    const lost = fault("AGENT_UNREACHABLE", "unavailable", { outcome: "unknown" });
    old.script = (_request, _call, nth) => ({
      apply: false,
      reject: nth === 1 ? movedTo(next) : lost,
      until: gates[nth - 1]?.until ?? Promise.resolve(),
    });
    const sent = [];
    for (const value of ["a", "b"]) {
      sent.push(producer.send({ topic: "t", value }));
      await clock.run(1);
    }
    assert.equal(old.open, 2);
    for (const { open } of gates) {
      open();
      await clock.run(1);
    }
    await clock.run(50);
    await clock.until(Promise.all(sent));
    const codes = cluster.noted.map((it) => it.code);
    assert.deepEqual(codes, ["NOT_LEASE_HOLDER"], "only what is news is told to the cluster");
    await clock.until(producer.close());
  });

  it("that two agents each say the other one has is asked for with patience, and nothing fails", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0 }, { agents: 2 });
    cluster.addTopic("t");
    const [a, b] = [agentOf(cluster, 0), agentOf(cluster, 1)];
    const until = clock.monotonic() + 10_000;
    a.script = () => ({ reject: movedTo(b) });
    b.script = () => (clock.monotonic() < until ? { reject: movedTo(a) } : {});
    const sent = producer.send({ topic: "t", value: "x" });
    assert.equal((await clock.until(sent)).offset, 0);
    const asked = a.requests.length + b.requests.length;
    assert.ok(asked < 40, `${asked} requests in 10 s`);
    await clock.until(producer.close());
  });

  it("is sent to its new holder at once also after a long time without one, when somebody names it", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0 }, { agents: 2 });
    cluster.addTopic("t");
    const [a, b] = [agentOf(cluster, 0), agentOf(cluster, 1)];
    const begun = clock.monotonic();
    let namedAt = 0;
    a.script = () => {
      if (clock.monotonic() - begun < 8_000)
        return { reject: fault("AGENT_UNREACHABLE", "unavailable") };
      namedAt ||= clock.monotonic();
      return { reject: movedTo(b) };
    };
    await clock.until(producer.send({ topic: "t", value: "x" }));
    const afterMs = clock.monotonic() - namedAt;
    assert.ok(afterMs < 100, `${afterMs} ms after it was named`);
    await clock.until(producer.close());
  });

  it("that nobody holds is looked for twice a second, so that whoever takes it over from a dead agent is found soon", async () => {
    for (const refusal of ["AGENT_UNREACHABLE", "NOT_LEASE_HOLDER"] as const) {
      const { cluster, clock, producer } = setUp({ lingerMs: 0 });
      cluster.addTopic("t");
      const heldFrom = clock.monotonic() + 9_000;
      const asked: number[] = [];
      cluster.agent.script = () => {
        asked.push(clock.monotonic());
        return clock.monotonic() < heldFrom ? { reject: fault(refusal, "unavailable") } : {};
      };
      await clock.until(producer.send({ topic: "t", value: "x" }));
      const longestMs = Math.max(...asked.slice(1).map((at, i) => at - (asked[i] ?? 0)));
      assert.ok(longestMs <= 650, `${refusal}: nobody was asked for ${longestMs} ms`);
      assert.ok(asked.length < 30, `${refusal}: ${asked.length} requests in 9 s`);
      await clock.until(producer.close());
    }
  });

  for (const code of ["LEASE_LOST", "AGENT_DRAINING", "AGENT_UNREACHABLE"] as const) {
    it(`is tried again after ${code} until the delivery deadline, without a hot loop`, async () => {
      const { cluster, clock, producer } = setUp({ lingerMs: 0, deliveryTimeoutMs: 30_000 });
      cluster.addTopic("t");
      const kind = code === "LEASE_LOST" ? "fenced" : "unavailable";
      const until = clock.monotonic() + 12_000;
      cluster.agent.script = () =>
        clock.monotonic() < until ? { reject: fault(code, kind, { retriable: true }) } : {};
      const sent = producer.send({ topic: "t", value: "x" });
      assert.equal((await clock.until(sent)).offset, 0);
      assert.ok(clock.monotonic() < until + 2_000, "found soon after it was there");
      assert.ok(cluster.agent.requests.length < 30, `${cluster.agent.requests.length} requests`);
      await clock.until(producer.close());
    });
  }
});

describe("partitions on different agents", () => {
  it("do not wait for one another while one agent does not answer", async () => {
    const { cluster, clock, producer } = setUp({ lingerMs: 0 }, { agents: 2 });
    const { id } = cluster.addTopic("t", 2);
    const [mute, well] = [agentOf(cluster, 0), agentOf(cluster, 1)];
    cluster.holders.set(`${id}/1`, well);
    const stuck = gate();
    mute.script = (_request, _call, nth) => (nth <= 5 ? { until: stuck.until } : {});
    const waiting = watch(producer.send({ topic: "t", partition: 0, value: "stuck" }));
    for (let i = 0; i < 50; i++) {
      const sent = producer.send({ topic: "t", partition: 1, value: `${i}` });
      assert.equal((await clock.until(sent, 1_000)).offset, i);
    }
    assert.equal(waiting.ending, undefined);
    stuck.open();
    await clock.run(10);
    assert.equal(resultOf(waiting).offset, 0);
    await clock.until(producer.close());
  });

  it("do not wait for one another when one of them needs another epoch", async () => {
    const { cluster, clock, producer } = setUp(
      { lingerMs: 0, deliveryTimeoutMs: 20_000, requestTimeoutMs: 60_000 },
      { agents: 2 },
    );
    const { id } = cluster.addTopic("t", 2);
    const [mute, well] = [agentOf(cluster, 0), agentOf(cluster, 1)];
    cluster.holders.set(`${id}/1`, well);
    const stuck = gate();
    const lost = fault("AGENT_UNREACHABLE", "unavailable", { outcome: "unknown" });
    mute.script = (_request, _call, nth) =>
      nth === 2 || nth === 3 ? { apply: false, reject: lost, until: stuck.until } : {};
    await clock.until(producer.send({ topic: "t", partition: 0, value: "before" }));
    const first = watch(producer.send({ topic: "t", partition: 0, value: "given up" }));
    await clock.run(19_000);
    const second = watch(producer.send({ topic: "t", partition: 0, value: "after it" }));
    await clock.run(1_500);
    assert.equal(errorOf(first).outcome, "unknown", "its deadline ended");
    for (let i = 0; i < 20; i++) {
      const sent = producer.send({ topic: "t", partition: 1, value: `${i}` });
      assert.equal((await clock.until(sent, 1_000)).offset, i);
    }
    assert.equal(second.ending, undefined);
    assert.equal(cluster.log.inits.length, 1, "the old epoch is of use elsewhere");
    stuck.open();
    await clock.run(2_000);
    assert.equal(resultOf(second).offset, 1);
    const more = producer.send({ topic: "t", partition: 1, value: "20" });
    assert.equal((await clock.until(more)).offset, 20);
    assert.deepEqual(
      cluster.log.inits.map((it) => it.producerEpoch),
      [0, 1],
    );
    assert.deepEqual(cluster.log.values(id, 0), ["before", "after it"]);
    assert.equal(cluster.log.values(id, 1).length, 21);
    await clock.until(producer.close());
  });
});
