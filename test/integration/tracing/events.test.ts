/** What goes wrong on the way is an event of the span that lives through it: retries, fencing, unknown outcomes, rebalances. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { withFaults } from "../../fault/faulty-metadata.ts";
import {
  createTopic,
  eventually,
  failureOf,
  memoryMetadata,
  send,
  sendAndWait,
  startAgent,
} from "../../unit/agent/bench-agent.ts";
import { unavailable } from "../../unit/consumer/fake-agent.ts";
import { refused, setUp as setUpConsumer, values } from "../../unit/consumer/setup.ts";
import { fault } from "../../unit/producer/fake-agents.ts";
import { errorOf, setUp as setUpProducer, watch } from "../../unit/producer/setup.ts";
import { eventsOf, type Recorded, record } from "./harness.ts";

let recorded: Recorded;
const book = () => recorded.book;

function names(span: ReadableSpan | undefined): string[] {
  return span?.events.map((it) => it.name) ?? [];
}

before(() => {
  recorded = record();
});
after(() => recorded.close());
beforeEach(() => book().clear());

describe("a producer's spans", () => {
  const traced = () => setUpProducer({ lingerMs: 0 }, { telemetry: recorded.sdk });

  it("tell of each retry with code, attempt and epoch, on the send and on the request", async () => {
    const { cluster, clock, producer } = traced();
    cluster.addTopic("t");
    cluster.agent.script = (_request, _call, nth) =>
      nth <= 2 ? { reject: fault("OVERLOADED") } : {};
    const sent = recorded.under("handler", () => producer.send({ topic: "t", value: "x" }));
    await clock.until(sent);
    const retries = eventsOf(book().one("send t")).filter(([name]) => name === "retry");
    assert.deepEqual(retries, [
      ["retry", { "error.type": "OVERLOADED", attempt: 1, epoch: 0 }],
      ["retry", { "error.type": "OVERLOADED", attempt: 2, epoch: 0 }],
    ]);
    const requests = book().named("send_batch_to_agent");
    assert.deepEqual(
      requests.map((it) => it.attributes.attempt),
      [1, 2, 3],
    );
    assert.deepEqual(eventsOf(requests[1] as ReadableSpan), [
      ["retry", { "error.type": "OVERLOADED", attempt: 2, topic: "t", partition: 0 }],
    ]);
    assert.equal(requests[0]?.attributes["rpc.response.status_code"], "RESOURCE_EXHAUSTED");
    assert.equal(requests[2]?.status.code, 0);
    await clock.until(producer.close());
  });

  it("tell of a fencing", async () => {
    const { cluster, clock, producer } = traced();
    cluster.addTopic("t");
    const batchError = fault("LEASE_LOST", "fenced", { retriable: true });
    cluster.agent.script = (_request, _call, nth) =>
      nth === 1 ? { apply: false, batchError } : {};
    const sent = recorded.under("handler", () => producer.send({ topic: "t", value: "x" }));
    await clock.until(sent);
    assert.deepEqual(names(book().one("send t")), ["fenced", "retry"]);
    const [request] = book().named("send_batch_to_agent");
    assert.deepEqual(eventsOf(request as ReadableSpan), [
      [
        "fenced",
        { "error.type": "LEASE_LOST", outcome: "none", topic: "t", partition: 0, attempt: 1 },
      ],
    ]);
    assert.equal(request?.attributes.failed_batches, 1);
    await clock.until(producer.close());
  });

  it("tell that it is not known whether a record was written", async () => {
    const { cluster, clock, producer } = setUpProducer(
      { lingerMs: 0, idempotent: false },
      { telemetry: recorded.sdk },
    );
    cluster.addTopic("t");
    const lost = fault("AGENT_UNREACHABLE", "unavailable", { outcome: "unknown" });
    cluster.agent.script = () => ({ reject: lost });
    const sent = watch(recorded.under("handler", () => producer.send({ topic: "t", value: "x" })));
    await clock.run(1_000);
    assert.equal(errorOf(sent).outcome, "unknown");
    for (const name of ["send t", "send_batch_to_agent"]) {
      const span = book().one(name);
      assert.deepEqual(names(span), ["unknown_outcome"], name);
      assert.equal(span.status.code, 2);
      assert.equal(span.attributes["error.type"], "AGENT_UNREACHABLE");
    }
    await clock.until(producer.close());
  });
});

describe("a consumer's spans", () => {
  it("tell of a commit's retries, and of its fencing with the member's epoch", async () => {
    const { agent, open, until } = setUpConsumer(recorded.sdk);
    agent.createTopic("t");
    await agent.append("t", values(2));
    const consumer = open({ autoCommit: false });
    await until(consumer.poll(1_000));
    agent.fault("commitOffsets", unavailable("down"), unavailable("down"));
    await until(consumer.commit());
    const [retried] = book().named("commit t");
    const retries = eventsOf(retried as ReadableSpan).filter(([name]) => name === "retry");
    assert.deepEqual(
      retries.map(([, it]) => [it["error.type"], it.attempt]),
      [
        ["AGENT_UNREACHABLE", 1],
        ["AGENT_UNREACHABLE", 2],
      ],
    );
    await agent.append("t", values(1, 2));
    await until(consumer.poll(1_000));
    agent.groups.expel();
    await refused(until(consumer.commit()), "UNKNOWN_MEMBER");
    const fenced = book().named("commit t")[1];
    assert.deepEqual(names(fenced), ["fenced"]);
    assert.equal(fenced?.events[0]?.attributes?.epoch, 1);
    await until(consumer.close());
  });

  it("tell of a rebalance with the new epoch, in the receive during or after which it came", async () => {
    const { agent, clock, open, until } = setUpConsumer(recorded.sdk);
    agent.createTopic("t", 2);
    await agent.append("t", values(1));
    const consumer = open({ autoCommit: false });
    await until(consumer.poll(1_000));
    const [joined] = book().named("receive t");
    assert.deepEqual(
      joined?.events.map((it) => [it.name, it.attributes]),
      [["rebalance", { assigned: 2, revoked: 0, lost: false, epoch: 1 }]],
    );
    await until(consumer.poll(10));
    book().clear();
    agent.groups.plan = [["t", 1]];
    await clock.run(2_000);
    await until(consumer.poll(10));
    const [taken] = book().named("receive t");
    assert.deepEqual(
      taken?.events.map((it) => [it.name, it.attributes?.assigned, it.attributes?.revoked]),
      [["rebalance", 0, 1]],
    );
    agent.groups.expel();
    await clock.run(3_000);
    await until(consumer.poll(10));
    const lost = book().named("receive t")[1];
    assert.deepEqual(
      lost?.events.map((it) => [it.attributes?.lost, it.attributes?.assigned]),
      [
        [true, 0],
        [false, 1],
      ],
    );
    await until(consumer.close());
  });
});

describe("an agent's spans", () => {
  async function start() {
    const clock = new ManualClock();
    const inner = memoryMetadata(clock);
    const { metadata, faults } = withFaults(inner);
    const bench = await startAgent({ clock, metadata, telemetry: recorded.sdk });
    return { bench, faults, inner, topicId: await createTopic(bench, "t") };
  }

  it("tell of a metadata commit that was tried again", async () => {
    const { bench, faults } = await start();
    faults.next.commitFlush = ["none", "none"];
    await sendAndWait(bench, "t", ["a"]);
    const commit = book().one("metadata commit");
    const retries = eventsOf(commit).filter(([name]) => name === "retry");
    assert.deepEqual(
      retries.map(([, it]) => [it["error.type"], it.attempt]),
      [
        ["METADATA_UNAVAILABLE", 1],
        ["METADATA_UNAVAILABLE", 2],
      ],
    );
    assert.equal(commit.status.code, 0);
    await bench.clock.until(bench.agent.stop());
  });

  it("tell of a commit whose outcome was not known for a while", async () => {
    const { bench, faults } = await start();
    faults.next.commitFlush = ["applied"];
    await sendAndWait(bench, "t", ["a"]);
    assert.ok(names(book().one("metadata commit")).includes("unknown_outcome"));
    assert.equal(book().one("flush").status.code, 0);
    await bench.clock.until(bench.agent.stop());
  });

  it("tell of a flush that could not be written, and of its batches in the next", async () => {
    const { bench } = await start();
    bench.sink.fates.push("fail");
    await sendAndWait(bench, "t", ["a"]);
    const [failed, again] = book().named("flush");
    assert.equal(failed?.status.code, 2);
    assert.deepEqual(names(again), ["retry"]);
    assert.equal(again?.status.code, 0);
    assert.equal(book().named("store put")[0]?.status.code, 2);
    await bench.clock.until(bench.agent.stop());
  });

  it("tell of a lease that another agent took, with the epoch that was fenced", async () => {
    const { bench, inner, topicId } = await start();
    bench.sink.fates.push("hold");
    const sending = send(bench, "t", ["a"]);
    await eventually(() => bench.sink.held === 1, "the flush is being written");
    const held = [{ topicId, partition: 0 }];
    await inner.releaseLeases(bench.agent.runId, held);
    const rival = { runId: "rival", agentId: "z", address: "rival:1", ttlMs: 60_000 };
    await inner.startRun({ ...rival, predecessorsDead: false });
    await inner.acquireLeases("rival", held);
    bench.sink.release();
    const error = await failureOf(bench.clock.until(sending));
    assert.equal(error.code, "LEASE_LOST");
    for (const name of ["metadata commit", "flush"]) {
      const span = book().one(name);
      const fenced = span.events.find((it) => it.name === "fenced");
      assert.deepEqual(fenced?.attributes, { topic: "t", partition: 0, epoch: 1 }, name);
      assert.equal(span.status.code, 2, name);
    }
    const produce = book().one("ProducerService.produce");
    assert.deepEqual(names(produce), ["fenced"]);
    assert.equal(produce.attributes["streamhouse.error.code"], "LEASE_LOST");
    assert.equal(produce.attributes["rpc.response.status_code"], "ABORTED");
    assert.equal(produce.status.code, 0, "not the agent's failure");
    await bench.clock.until(bench.agent.stop());
  });
});
