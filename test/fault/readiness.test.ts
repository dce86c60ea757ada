/** What `/ready` says of a whole agent in each phase of its life, through the HTTP handler and on a clock of the test's own. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Agent, createAgent } from "../../src/agent/agent.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { createHandler } from "../../src/http/handler.ts";
import type { ReadinessRule } from "../../src/http/readiness.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import {
  createTopic,
  eventually,
  failureOf,
  memoryMetadata,
  seededRandom,
  send,
  sendAndWait,
} from "../unit/agent/bench-agent.ts";
import { MemoryStore, TestSink } from "../unit/agent/memory-store.ts";
import { withFaults } from "./faulty-metadata.ts";

function make() {
  const clock = new ManualClock();
  const { metadata, faults } = withFaults(memoryMetadata(clock));
  const store = new MemoryStore();
  const sink = new TestSink(store);
  const agent = createAgent(
    {
      ...{ metadata, store, sink, clock, random: seededRandom(1) },
      ...{ logger: silentLogger, telemetry: false },
    },
    { agentId: "a1" },
  );
  return { agent, clock, metadata, faults, store, sink };
}

/** Status and reasons of `GET /ready`. */
async function ready(agent: Agent, readiness: ReadinessRule = "leases") {
  const handler = createHandler({ agent, readiness });
  const response = await handler(new Request("http://localhost/ready"));
  const { reasons } = (await response.json()) as { readonly reasons: readonly string[] };
  return [response.status, ...reasons];
}

const READY = [200];

async function started() {
  const bench = make();
  await bench.clock.until(bench.agent.start());
  await createTopic(bench, "t");
  assert.deepEqual(await ready(bench.agent), READY);
  return bench;
}

type Started = Awaited<ReturnType<typeof started>>;

/** How long it takes until the answer is another one, ms. */
async function until(bench: Started, isReady: boolean, limitMs = 30_000): Promise<number> {
  const from = bench.clock.monotonic();
  for (;;) {
    const [status] = await ready(bench.agent);
    const took = bench.clock.monotonic() - from;
    if ((status === 200) === isReady) return took;
    assert.ok(took < limitMs, `${status} for ${took} ms`);
    await bench.clock.run(100);
  }
}

const unavailable = () =>
  new StreamHouseError({
    ...{ code: "STORE_UNAVAILABLE", kind: "unavailable", message: "injected: no answer" },
  });

describe("/ready of an agent", () => {
  it("says that it starts until it does, also while metadata keeps it waiting", async () => {
    const { agent, clock, faults } = make();
    assert.deepEqual(await ready(agent), [503, "the agent is starting"]);
    faults.next.startRun = ["hold"];
    const starting = agent.start();
    await eventually(() => faults.held === 1, "the run is being registered");
    for (const rule of ["leases", "standby"] as const) {
      assert.deepEqual(await ready(agent, rule), [503, "the agent is starting"]);
    }
    faults.release();
    await clock.until(starting);
    assert.deepEqual(await ready(agent), [503, "the agent holds no lease"]);
    assert.deepEqual(await ready(agent, "standby"), READY, "it has nothing to hold");
    await clock.until(agent.stop());
  });

  it("says within its lease's time that metadata is away, and soon after that it is back", async () => {
    const bench = await started();
    bench.faults.down = true;
    const took = await until(bench, false);
    assert.ok(took >= 5_000 && took <= 13_500, `${took} ms`);
    await bench.clock.run(10_000);
    const [status, ...reasons] = await ready(bench.agent, "standby");
    assert.equal(status, 503);
    assert.equal(reasons[0], "the agent's run is over, and no new one has begun");
    assert.match(String(reasons[1]), /^metadata has not answered for \d+ s$/);
    bench.faults.down = false;
    assert.ok((await until(bench, true)) <= 3_500);
    assert.equal(await sendAndWait(bench, "t", ["x"]), 0, "and it is true");
    await bench.clock.until(bench.agent.stop());
  });

  it("says that the store is away when nothing could be written for 10 s, and without any traffic that it is back", async () => {
    const bench = await started();
    const { sink, store } = bench;
    const { head, put } = store;
    store.head = async () => {
      throw unavailable();
    };
    store.put = store.head as never;
    for (let i = 0; i < 1_000; i++) sink.fates.push("fail");
    const lost = failureOf(send(bench, "t", ["x"]));
    const took = await until(bench, false);
    assert.ok(took >= 9_500 && took <= 11_000, `${took} ms`);
    assert.equal((await bench.clock.until(lost)).code, "STORE_UNAVAILABLE");
    await bench.clock.run(30_000);
    const [, reason] = await ready(bench.agent);
    assert.match(String(reason), /^the object store has not answered for \d+ s$/);
    sink.fates.length = 0;
    Object.assign(store, { head, put });
    assert.ok((await until(bench, true)) <= 3_500);
    await bench.clock.until(bench.agent.stop());
  });

  it("is not deceived by a store that answers questions and takes no writes", async () => {
    const bench = await started();
    const { sink, store } = bench;
    const { put } = store;
    store.put = async () => {
      throw unavailable();
    };
    for (let i = 0; i < 1_000; i++) sink.fates.push("fail");
    const lost = failureOf(send(bench, "t", ["x"]));
    const took = await until(bench, false);
    assert.ok(took <= 11_000, `${took} ms`);
    assert.equal((await bench.clock.until(lost)).code, "STORE_UNAVAILABLE");
    for (let i = 0; i < 60; i++) {
      await bench.clock.run(500);
      assert.equal((await ready(bench.agent))[0], 503, "all the time");
    }
    sink.fates.length = 0;
    store.put = put;
    const before = store.objects.size;
    assert.ok((await until(bench, true)) <= 3_500);
    assert.equal(store.objects.size, before, "nothing is left of looking");
    await bench.clock.until(bench.agent.stop());
  });

  it("says that it drains while it finishes what it has, and that it has stopped", async () => {
    const bench = await started();
    bench.sink.fates.push("hold");
    const sent = send(bench, "t", ["x"]);
    await eventually(() => bench.sink.held === 1, "a flush is being written");
    const stopped = bench.agent.stop();
    await bench.clock.run(100);
    for (const rule of ["leases", "standby"] as const) {
      assert.deepEqual(await ready(bench.agent, rule), [503, "the agent is draining"]);
    }
    bench.sink.release();
    assert.equal((await bench.clock.until(sent)).baseOffset, 0);
    await bench.clock.until(stopped);
    assert.deepEqual(await ready(bench.agent, "standby"), [503, "the agent is stopped"]);
  });
});
