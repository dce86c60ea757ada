import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createInProcessTransport } from "../../../src/client/in-process-transport.ts";
import { systemClock } from "../../../src/core/clock.ts";
import type { AgentApi } from "../../../src/rpc/agent-api.ts";
import { batch, failureOf, fakeAgent, produceRequest, until } from "../rpc/fake-agent.ts";

const never = () => new Promise<never>(() => {});

function transportOver(methods: Partial<AgentApi> = {}) {
  const agent = fakeAgent(methods);
  const transport = createInProcessTransport(agent.api, { clock: systemClock });
  const connection = transport.connection(transport.bootstrap[0] ?? "");
  return { ...agent, transport, connection };
}

describe("the in-process transport", () => {
  it("calls the agent in the order of the calls, on the same objects", async () => {
    const { connection, seen } = transportOver();
    const channel = connection.openProducer();
    const requests = Array.from({ length: 50 }, (_, i) => produceRequest(batch(i, 1)));
    const calls = requests.map((request) => channel.produce(request, {}));
    assert.equal(seen.length, 50, "each was called before its call returned");
    await Promise.all(calls);
    for (const [i, { request }] of seen.entries()) assert.equal(request, requests[i]);
  });

  it("has one agent, whatever address it is asked for", () => {
    const { transport, connection } = transportOver();
    assert.equal(transport.connection("127.0.0.1:7070"), connection);
    assert.equal(connection.address, "in-process");
  });

  it("keeps time limits and signals, with the outcome open", async () => {
    const { connection } = transportOver({ listTopics: never, produce: never });
    const late = await failureOf(connection.api.listTopics({}, { timeoutMs: 20 }));
    assert.equal(late.code, "DEADLINE_EXCEEDED");
    assert.equal(late.outcome, "unknown");
    const stop = new AbortController();
    const channel = connection.openProducer();
    const aborted = failureOf(channel.produce(produceRequest(), { signal: stop.signal }));
    stop.abort();
    assert.equal((await aborted).outcome, "unknown");
    const before = channel.produce(produceRequest(), { signal: stop.signal });
    assert.equal((await failureOf(before)).outcome, "none");
  });

  it("passes failures on, and makes foreign ones ours", async () => {
    const { connection } = transportOver({
      listTopics: () => {
        throw new TypeError("x is undefined");
      },
    });
    assert.equal((await failureOf(connection.api.listTopics({}, {}))).code, "INTERNAL");
  });

  it("waits at a channel's close for answers that are out", async () => {
    let answer = () => {};
    const { connection } = transportOver({
      produce: () =>
        new Promise((resolve) => {
          answer = () => resolve({ results: [] });
        }),
    });
    const channel = connection.openProducer();
    const out = channel.produce(produceRequest(), {});
    let closed = false;
    const closing = channel.close().then(() => {
      closed = true;
    });
    const refused = await failureOf(channel.produce(produceRequest(), {}));
    assert.deepEqual([refused.code, refused.outcome, refused.retriable], ["CLOSED", "none", true]);
    assert.equal(channel.broken, true);
    assert.equal(closed, false);
    answer();
    await out;
    await closing;
  });

  it("ends calls when it is closed, and takes no more", async () => {
    const { connection, transport, seen } = transportOver({ fetch: never });
    const request = { partitions: [], maxWaitMs: 0, minBytes: 0, maxBytes: 0 };
    const waiting = failureOf(
      connection.api.fetch({ ...request, group: "", memberId: "", memberEpoch: 0 }, {}),
    );
    await until("it is there", () => seen.length === 1);
    await transport.close();
    assert.equal((await waiting).code, "CLOSED");
    assert.equal((await failureOf(connection.api.listTopics({}, {}))).code, "CLOSED");
  });
});
