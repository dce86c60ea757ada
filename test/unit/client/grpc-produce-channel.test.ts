/** Produce channels over real connections: order, outcomes, bounds. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { limits } from "../../../src/core/limits.ts";
import type { ProduceResponse } from "../../../src/rpc/gen/streamhouse/v1/producer.ts";
import { batch, failureOf, produceRequest, rig, until } from "../rpc/fake-agent.ts";

const plain = { timeoutMs: 20_000 };

/** Answers that say which request they are for. */
function answerFor(partition: number): ProduceResponse {
  const rest = { topicId: "", appendTimeMs: 0, duplicate: false, error: undefined };
  return { results: [{ ...rest, partition, baseOffset: partition }] };
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((it) => {
    resolve = it;
  });
  return { promise, resolve };
}

describe("a produce channel", () => {
  it("applies requests in order and matches answers that overtake one another", async () => {
    const order: number[] = [];
    let random = 12_345;
    const it_ = await rig({
      async produce(request) {
        const partition = request.batches[0]?.partition ?? -1;
        order.push(partition);
        random = (random * 1_103_515_245 + 12_345) % 2_147_483_648;
        await new Promise((resolve) => setTimeout(resolve, random % 7));
        return answerFor(partition);
      },
    });
    const channel = it_.connection.openProducer();
    const answers: Promise<void>[] = [];
    for (let i = 0; i < 3_000; i++) {
      const size = i % 100 === 0 ? 300_000 : 100;
      answers.push(
        channel.produce(produceRequest(batch(i, size)), plain).then((answer) => {
          assert.equal(answer.results[0]?.baseOffset, i);
        }),
      );
      if (answers.length % 200 === 0) await Promise.all(answers.slice(-200));
    }
    await Promise.all(answers);
    assert.deepEqual(
      order,
      Array.from({ length: 3_000 }, (_, i) => i),
    );
    const name = "streamhouse.v1.ProducerService/ProduceStream OK";
    assert.deepEqual(it_.requests(), { [name]: 3_000 });
    await channel.close();
    await it_.stop();
  });

  it("carries a full request, and refuses a larger one without harm to the others", async () => {
    let received = 0;
    const it_ = await rig({
      async produce(request) {
        received = request.batches.reduce((sum, it) => sum + it.records.length, 0);
        return answerFor(0);
      },
    });
    const channel = it_.connection.openProducer();
    const full = Array.from({ length: 8 }, (_, i) => batch(i, 1_048_576));
    const small = channel.produce(produceRequest(batch(0, 1)), plain);
    const tooLarge = failureOf(channel.produce(produceRequest(...full, batch(8, 70_000)), plain));
    const answer = channel.produce(produceRequest(...full), plain);
    assert.equal((await tooLarge).code, "REQUEST_TOO_LARGE");
    assert.equal((await tooLarge).outcome, "none");
    await Promise.all([small, answer]);
    assert.equal(received, limits.requestBytesMax);
    assert.equal(channel.broken, false);
    await channel.close();
    await it_.stop();
  });

  it("goes on after a refused request", async () => {
    const it_ = await rig({
      async produce(request) {
        const partition = request.batches[0]?.partition ?? -1;
        if (partition % 2 === 1) throw new TypeError("odd");
        return answerFor(partition);
      },
    });
    const channel = it_.connection.openProducer();
    const calls = [0, 1, 2, 3].map((i) => channel.produce(produceRequest(batch(i, 1)), plain));
    const settled = await Promise.allSettled(calls);
    assert.deepEqual(
      settled.map((it) => it.status),
      ["fulfilled", "rejected", "fulfilled", "rejected"],
    );
    assert.equal(channel.broken, false);
    await channel.close();
    await it_.stop();
  });

  it("gives each request its own time limit, and takes no harm from a late answer", async () => {
    const held = deferred();
    const it_ = await rig({
      async produce(request) {
        const partition = request.batches[0]?.partition ?? -1;
        if (partition === 0) await held.promise;
        return answerFor(partition);
      },
    });
    const channel = it_.connection.openProducer();
    await channel.produce(produceRequest(batch(1, 1)), plain);
    const short = { timeoutMs: 500 };
    const late = await failureOf(channel.produce(produceRequest(batch(0, 1)), short));
    assert.equal(late.code, "DEADLINE_EXCEEDED");
    assert.equal(late.outcome, "unknown");
    held.resolve();
    const answer = await channel.produce(produceRequest(batch(1, 1)), plain);
    assert.equal(answer.results[0]?.partition, 1);
    await channel.close();
    await it_.stop();
  });

  it("ends a request with its caller's signal", async () => {
    const held = deferred();
    const it_ = await rig({ produce: () => held.promise.then(() => answerFor(0)) });
    const channel = it_.connection.openProducer();
    const stop = new AbortController();
    const aborted = failureOf(
      channel.produce(produceRequest(batch(0, 1)), { ...plain, signal: stop.signal }),
    );
    await until("it is there", () => it_.seen.length === 1);
    stop.abort();
    assert.equal((await aborted).code, "ABORTED");
    assert.equal((await aborted).outcome, "unknown");
    const before = channel.produce(produceRequest(), { ...plain, signal: stop.signal });
    assert.equal((await failureOf(before)).outcome, "none");
    assert.equal(it_.seen[0]?.call.signal, undefined, "what was accepted goes on");
    held.resolve();
    await channel.close();
    await it_.stop();
  });

  it("holds no more than its limit of unanswered requests", async () => {
    const held = deferred();
    const it_ = await rig({ produce: () => held.promise.then(() => answerFor(0)) });
    const channel = it_.connection.openProducer();
    const max = limits.inFlightPerConnectionMax;
    const calls = Array.from({ length: max }, (_, i) =>
      channel.produce(produceRequest(batch(i, 1)), plain),
    );
    const refused = await failureOf(channel.produce(produceRequest(batch(0, 1)), plain));
    assert.equal(refused.code, "OVERLOADED");
    assert.equal(refused.outcome, "none");
    held.resolve();
    await Promise.all(calls);
    await channel.produce(produceRequest(batch(0, 1)), plain);
    await channel.close();
    await it_.stop();
  });

  it("waits at its close for answers that are out, and takes no more requests", async () => {
    const held = deferred();
    const it_ = await rig({ produce: () => held.promise.then(() => answerFor(3)) });
    const channel = it_.connection.openProducer();
    const out = channel.produce(produceRequest(batch(3, 1)), plain);
    await until("it is there", () => it_.seen.length === 1);
    const closed = channel.close();
    const refused = await failureOf(channel.produce(produceRequest(), plain));
    assert.equal(refused.code, "CLOSED");
    assert.equal(refused.outcome, "none");
    held.resolve();
    assert.equal((await out).results[0]?.partition, 3);
    await closed;
    await channel.close();
    await it_.stop();
  });

  it("that was never used closes at once", async () => {
    const it_ = await rig();
    await it_.connection.openProducer().close();
    assert.equal(it_.connections(), 0);
    await it_.stop();
  });

  it("says `unknown` of what the agent had when it died, `none` of what came later", async () => {
    const it_ = await rig(
      { produce: () => new Promise(() => {}) },
      { server: { drainTimeoutMs: 10 } },
    );
    const channel = it_.connection.openProducer();
    const there = failureOf(channel.produce(produceRequest(batch(0, 1)), plain));
    await until("it is there", () => it_.seen.length === 1);
    await it_.server.stop();
    const error = await there;
    assert.equal(error.code, "AGENT_UNREACHABLE");
    assert.equal(error.outcome, "unknown");
    assert.equal(channel.broken, true);
    const later = await failureOf(channel.produce(produceRequest(batch(1, 1)), plain));
    assert.equal(later.outcome, "none");
    assert.equal(later.retriable, true);
    await it_.stop();
  });

  it("says `none` when there is nobody at the address", async () => {
    const it_ = await rig();
    await it_.server.stop();
    const channel = it_.connection.openProducer();
    const error = await failureOf(channel.produce(produceRequest(batch(0, 1)), plain));
    assert.equal(error.code, "AGENT_UNREACHABLE");
    assert.equal(error.outcome, "none");
    assert.match(error.message, new RegExp(it_.address.replaceAll(".", "\\.")));
    await it_.stop();
  });
});

describe("the agent's end of a produce channel", () => {
  it("finishes what it accepted from a client that went away", async () => {
    const held = deferred();
    let finished = 0;
    const it_ = await rig({
      async produce() {
        await held.promise;
        finished++;
        return answerFor(0);
      },
    });
    const channel = it_.connection.openProducer();
    const gone = new AbortController();
    for (let i = 0; i < 5; i++) {
      const call = { ...plain, signal: gone.signal };
      channel.produce(produceRequest(batch(i, 1)), call).catch(() => {});
    }
    await until("all are there", () => it_.seen.length === 5);
    // It waits for no answer any more: otherwise its close would.
    gone.abort();
    await it_.transport.close();
    await until("the connection is gone", () => it_.connections() === 0);
    held.resolve();
    await until("all are finished", () => finished === 5);
    await it_.stop();
  });

  it("reads no more than its limit of unanswered requests, whatever the client sends", async () => {
    const held = deferred();
    const it_ = await rig({ produce: () => held.promise.then(() => answerFor(0)) });
    // Two channels of one connection: each stream has the limit.
    const channels = [it_.connection.openProducer(), it_.connection.openProducer()];
    const max = limits.inFlightPerConnectionMax;
    const calls = channels.flatMap((channel) =>
      Array.from({ length: max }, (_, i) => channel.produce(produceRequest(batch(i, 1)), plain)),
    );
    await until("as many as may be", () => it_.seen.length >= max);
    assert.ok(it_.seen.length <= 2 * max);
    held.resolve();
    await Promise.all(calls);
    await it_.stop();
  });
});
