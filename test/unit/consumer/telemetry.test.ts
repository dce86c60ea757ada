import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { context, propagation, SpanKind, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { ConsumerRecord } from "../../../src/core/record.ts";
import { unavailable } from "./fake-agent.ts";
import { measured } from "./measured.ts";
import { refused, setUp, take, values } from "./setup.ts";

const OWN = "topic=t,group_id=g";
const ZERO = "topic=t,partition=0,group_id=g";

describe("the consumer's metrics", () => {
  it("count each record and its encoded bytes when it is handed out, once", async () => {
    const { agent, open, read, until } = measured();
    agent.createTopic("t");
    await agent.append("t", values(10));
    await agent.append("t", values(3, 10), { compression: "gzip" });
    const [first, second] = agent.log("t").batches.map((it) => it.records.length);
    const consumer = open();
    await until(take(consumer, 4));
    assert.equal(read()[`streamhouse.records.consumed{${OWN}}`], 4);
    const share = read()[`streamhouse.bytes.consumed{${OWN}}`] as number;
    assert.equal(share, Math.round(((first ?? 0) * 4) / 10));
    await until(take(consumer, 2));
    assert.equal(read()[`streamhouse.records.consumed{${OWN}}`], 5, "v3 was given again");
    await until(take(consumer, 9));
    assert.equal(read()[`streamhouse.records.consumed{${OWN}}`], 13);
    assert.equal(read()[`streamhouse.bytes.consumed{${OWN}}`], (first ?? 0) + (second ?? 0));
    await until(consumer.close());
    assert.equal(read()[`streamhouse.records.consumed{${OWN}}`], 13, "the total stays");
  });

  it("have one duration for each poll, also for one that fails", async () => {
    const { agent, open, read, until } = measured();
    agent.createTopic("t");
    const consumer = open();
    await until(consumer.poll(250));
    await until(consumer.poll(750));
    await refused(consumer.poll(100, { signal: AbortSignal.abort() }), "ABORTED");
    assert.deepEqual(read()["streamhouse.poll.duration.seconds{group_id=g}"], [3, 1]);
    await until(consumer.close());
  });

  it("show position and committed offset while a partition is assigned, and nothing after", async () => {
    const { agent, clock, open, read, until } = measured();
    agent.createTopic("t", 2);
    await agent.append("t", values(5));
    const consumer = open();
    await until(take(consumer, 3));
    await clock.run(6_000);
    const shown = read();
    assert.equal(shown[`streamhouse.current_offset{${ZERO}}`], 2);
    assert.equal(shown[`streamhouse.last_committed_offset{${ZERO}}`], 2);
    assert.equal(shown[`streamhouse.consumer.lag.records{${ZERO}}`], 3);
    assert.equal(shown[`streamhouse.consumer.lag.seconds{${ZERO}}`], 6);
    assert.equal(shown[`streamhouse.consumer.lead.records{${ZERO}}`], 2);
    agent.groups.plan = [["t", 1]];
    // No refresh of lag takes them away: the collection itself does.
    agent.hanging.add("describeGroup");
    await clock.run(2_000);
    const gone = Object.keys(read()).filter((it) => it.includes("partition=0"));
    assert.deepEqual(gone, []);
    await until(consumer.close());
    assert.deepEqual(
      Object.keys(read()).filter((it) => it.includes("partition=")),
      [],
    );
  });

  it("refresh lag by their own timer while the application is stuck", async () => {
    const { agent, clock, open, read, until } = measured();
    agent.createTopic("t");
    await agent.append("t", values(2));
    const consumer = open();
    await until(consumer.poll(1_000));
    await clock.run(6_000);
    assert.equal(read()[`streamhouse.consumer.lag.records{${ZERO}}`], 2);
    await agent.append("t", values(7, 2));
    await clock.run(5_000);
    assert.equal(read()[`streamhouse.consumer.lag.records{${ZERO}}`], 9);
    await until(consumer.close());
  });

  it("keep the last lag when a refresh fails, and count the failure; poll never notices", async () => {
    const { agent, clock, open, read, until } = measured();
    agent.createTopic("t");
    await agent.append("t", values(2));
    const consumer = open();
    await until(consumer.poll(1_000));
    await clock.run(6_000);
    const down = unavailable("down");
    agent.fault("describeGroup", down, down, down, down);
    await agent.append("t", ["more"]);
    await clock.run(9_000);
    assert.equal(read()["streamhouse.lag.refresh.errors{}"], 4);
    assert.equal(read()[`streamhouse.consumer.lag.records{${ZERO}}`], 2);
    assert.equal(read()[`streamhouse.consumer.lag.seconds{${ZERO}}`], 15, "time goes on");
    assert.equal(read()["streamhouse.lag.age.seconds{group_id=g}"], 10);
    assert.equal((await until(consumer.poll(0))).length, 1);
    await until(consumer.close());
  });

  it("count retries by code", async () => {
    const { agent, open, read, until } = measured();
    agent.createTopic("t");
    agent.fault("heartbeat", unavailable("down"), unavailable("down"));
    const consumer = open();
    await until(consumer.poll(5_000));
    assert.equal(read()["streamhouse.client.retries{error.type=AGENT_UNREACHABLE}"], 2);
    await until(consumer.close());
  });
});

describe("the consumer's further metrics", () => {
  const only = (read: Record<string, number | number[]>, name: string) =>
    Object.fromEntries(Object.entries(read).filter(([key]) => key.startsWith(`${name}{`)));

  it("have one sample of latency and of age for each record delivered, by loop, batch and poll", async () => {
    const { agent, clock, open, read, until } = measured();
    agent.createTopic("t");
    await agent.append("t", values(10));
    await clock.run(2_000);
    const consumer = open();
    await until(take(consumer, 4));
    for await (const batch of consumer.batches()) {
      assert.equal(batch.firstOffset, 3);
      break;
    }
    await until(consumer.poll(1_000));
    await agent.append("t", values(5, 10));
    await until(consumer.poll(1_000));
    const latency = read()[`streamhouse.end_to_end_latency.seconds{${OWN}}`] as number[];
    const age = read()[`streamhouse.record.age.seconds{${OWN}}`] as number[];
    const consumed = read()[`streamhouse.records.consumed{${OWN}}`];
    assert.equal(consumed, 15);
    assert.deepEqual([latency[0], age[0]], [15, 15]);
    assert.ok((latency[1] ?? 0) >= 20, "ten of them waited two seconds");
    await until(consumer.close());
  });

  it("count what is fetched and not handed out, and nothing after the close", async () => {
    const { agent, open, read, until } = measured();
    agent.createTopic("t");
    await agent.append("t", values(10));
    await agent.append("t", values(6, 10));
    const sizes = agent.log("t").batches.map((it) => it.records.length);
    const consumer = open({ maxPollRecords: 4 });
    await until(consumer.poll(1_000));
    const records = "streamhouse.consumer.buffered.records{group_id=g}";
    const bytes = "streamhouse.consumer.buffered.bytes{group_id=g}";
    assert.equal(read()[records], 12);
    const rest = (sizes[0] ?? 0) - Math.round(((sizes[0] ?? 0) * 4) / 10) + (sizes[1] ?? 0);
    assert.equal(read()[bytes], rest);
    consumer.seek("t", 0, 15);
    assert.equal(read()[records], 0, "what was fetched before a seek is let go");
    await until(consumer.poll(1_000));
    assert.equal(read()[records], 0);
    await until(consumer.close());
    assert.deepEqual([read()[records], read()[bytes]], [undefined, undefined]);
  });

  it("have one duration for each fetch that was answered, well or badly", async () => {
    const { agent, open, read, until } = measured();
    agent.createTopic("t");
    await agent.append("t", values(1));
    agent.fault("fetch", unavailable("down"));
    const consumer = open({ fetchMaxWaitMs: 500 });
    await until(consumer.poll(1_000));
    await until(consumer.poll(1_000));
    const [count, sum] = read()[
      "streamhouse.consumer.fetch.duration.seconds{group_id=g}"
    ] as number[];
    assert.ok((count ?? 0) >= 3, `${count} fetches`);
    assert.ok((sum ?? 0) >= 0.5, "an empty one waits");
    await until(consumer.close());
  });

  it("have one duration for each commit, by our name and by the conventions'", async () => {
    const { agent, open, read, until } = measured();
    agent.createTopic("t");
    await agent.append("t", values(2));
    const consumer = open({ autoCommit: false });
    await until(consumer.poll(1_000));
    await until(consumer.commit());
    await until(consumer.commit());
    await agent.append("t", values(1, 2));
    await until(consumer.poll(1_000));
    agent.groups.expel();
    await refused(until(consumer.commit()), "UNKNOWN_MEMBER");
    const [count] = read()["streamhouse.consumer.commit.duration.seconds{group_id=g}"] as number[];
    assert.equal(count, 2, "a commit of nothing new sends nothing");
    const durations = only(read(), "messaging.client.operation.duration");
    const labels =
      "messaging.system=streamhouse,messaging.operation.name=commit,messaging.destination.name=t," +
      "messaging.consumer.group.name=g";
    const ofCommits = Object.entries(durations).filter(([key]) => key.includes("=commit"));
    assert.deepEqual(
      ofCommits.map(([key, value]) => [key.slice(key.indexOf("{")), (value as number[])[0]]),
      [
        [`{${labels}}`, 1],
        [`{${labels},error.type=UNKNOWN_MEMBER}`, 1],
      ],
    );
    await until(consumer.close());
  });

  it("count polls and records under the conventions' names", async () => {
    const { agent, open, read, until } = measured();
    agent.createTopic("t");
    await agent.append("t", values(3));
    const consumer = open();
    await until(consumer.poll(1_000));
    const labels =
      "messaging.system=streamhouse,messaging.operation.name=receive,messaging.destination.name=t," +
      "messaging.consumer.group.name=g";
    assert.deepEqual(only(read(), "messaging.client.consumed.messages"), {
      [`messaging.client.consumed.messages{${labels}}`]: 3,
    });
    const durations = only(read(), "messaging.client.operation.duration");
    assert.deepEqual(Object.keys(durations), [`messaging.client.operation.duration{${labels}}`]);
    await until(consumer.close());
  });

  it("have the duration of the application's work, with the class of what it threw", async () => {
    const { open, read, until } = measured();
    const consumer = open();
    const one = new ConsumerRecord("t", 0, 0, 0, 0, null, null, []);
    await consumer.process(one, () => {});
    await consumer.process([one, one], () => {});
    await assert.rejects(consumer.process(one, () => Promise.reject(new RangeError("no"))));
    const labels =
      "messaging.system=streamhouse,messaging.operation.name=process,messaging.destination.name=t," +
      "messaging.consumer.group.name=g";
    const durations = only(read(), "messaging.process.duration");
    assert.deepEqual(
      Object.entries(durations).map(([key, value]) => [key, (value as number[])[0]]),
      [
        [`messaging.process.duration{${labels}}`, 2],
        [`messaging.process.duration{${labels},error.type=RangeError}`, 1],
      ],
    );
    await until(consumer.close());
  });

  it("count each change of the assignment once, and how long it took", async () => {
    const { agent, clock, open, read, until } = measured();
    agent.createTopic("t", 2);
    await agent.append("t", values(2));
    const consumer = open({ autoCommit: false });
    const rebalances = () => [
      read()["streamhouse.consumer.rebalances{group_id=g}"],
      (read()["streamhouse.consumer.rebalance.duration.seconds{group_id=g}"] as number[])[0],
    ];
    await until(consumer.poll(1_000));
    assert.deepEqual(rebalances(), [1, 1], "it joined");
    await clock.run(10_000);
    assert.deepEqual(rebalances(), [1, 1], "nothing changed");
    agent.groups.plan = [["t", 1]];
    await clock.run(3_000);
    // Partition 0 waits for the records in hand.
    assert.deepEqual(rebalances(), [1, 1]);
    await until(consumer.poll(10));
    await clock.run(100);
    assert.deepEqual(rebalances(), [2, 2]);
    const took = read()["streamhouse.consumer.rebalance.duration.seconds{group_id=g}"] as number[];
    assert.ok((took[1] ?? 0) >= 2, `${took[1]} s: it waited for the application`);
    agent.groups.expel();
    await clock.run(5_000);
    assert.deepEqual(rebalances(), [4, 4], "lost, and joined again");
    await until(consumer.close());
  });

  it("count no rebalance where partitions are assigned by hand", async () => {
    const { agent, open, read, until } = measured();
    agent.createTopic("t");
    const consumer = open({ assign: [{ topic: "t", partition: 0 }] });
    await until(consumer.poll(10));
    assert.equal(read()["streamhouse.consumer.rebalances{group_id=}"] ?? 0, 0);
    await until(consumer.close());
  });
});

describe("lag()", () => {
  it("is what the group has not committed; from its beginning before its first commit", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(4));
    const consumer = open({ autoCommit: false, offsetReset: "latest" });
    await until(consumer.poll(100));
    assert.deepEqual(await until(consumer.lag("t", 0)), { records: 0, seconds: 0 });
    await agent.append("t", values(2, 4));
    await clock.run(3_000);
    assert.deepEqual(await until(consumer.lag("t", 0)), { records: 2, seconds: 3 });
    await until(consumer.poll(1_000));
    await until(consumer.commit([{ topic: "t", partition: 0, offset: 5 }]));
    assert.deepEqual(await until(consumer.lag("t", 0)), { records: 1, seconds: 3 });
    assert.deepEqual(await until(consumer.lags()), [
      { topic: "t", partition: 0, records: 1, seconds: 3 },
    ]);
    await until(consumer.close());
  });

  it("is what was not handed out yet without a group, also behind the log's start", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(4));
    await clock.run(2_000);
    const consumer = open({ assign: [{ topic: "t", partition: 0 }], maxPollRecords: 1 });
    await until(consumer.poll(1_000));
    assert.deepEqual(await until(consumer.lag("t", 0)), { records: 3, seconds: 2 });
    agent.log("t").logStart = 2;
    assert.deepEqual(await until(consumer.lag("t", 0)), { records: 2, seconds: 2 });
    await until(consumer.close());
  });

  it("says what is wrong with a partition that does not exist", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open();
    await refused(until(consumer.lag("nope", 0)), "TOPIC_NOT_FOUND");
    await refused(until(consumer.lag("t", 9)), "PARTITION_OUT_OF_RANGE");
    await until(consumer.close());
  });
});

describe("the consumer's spans", () => {
  const exporter = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  });

  before(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  });
  after(() => {
    context.disable();
    propagation.disable();
  });

  it("are one for each poll and each commit, with timeout, count and error", async () => {
    const { agent, open, until } = setUp({ tracerProvider });
    agent.createTopic("t");
    await agent.append("t", values(2));
    exporter.reset();
    const consumer = open({ autoCommit: false });
    await until(consumer.poll(1_500));
    agent.groups.expel();
    await refused(until(consumer.commit()), "UNKNOWN_MEMBER");
    const [receive, call, commit] = exporter.getFinishedSpans();
    assert.equal(receive?.name, "receive t");
    assert.equal(receive?.kind, SpanKind.CLIENT);
    assert.equal(receive?.attributes.timeout_ms, 1_500);
    assert.equal(receive?.attributes.record_count, 2);
    assert.equal(commit?.name, "commit t");
    assert.equal(commit?.kind, SpanKind.CLIENT);
    assert.equal(commit?.attributes["messaging.operation.type"], "settle");
    assert.equal(commit?.attributes["error.type"], "UNKNOWN_MEMBER");
    assert.deepEqual(
      commit?.events.map((it) => [it.name, it.attributes?.["error.type"], it.attributes?.attempt]),
      [["fenced", "UNKNOWN_MEMBER", 1]],
    );
    assert.equal(call?.name, "streamhouse.v1.GroupService/CommitOffsets");
    assert.equal(call?.parentSpanContext?.spanId, commit?.spanContext().spanId);
    assert.equal(call?.attributes["error.type"], call?.attributes["rpc.response.status_code"]);
    await until(consumer.close());
  });

  it("of process() run the handler inside, linked to the record's own trace, and keep its error", async () => {
    const { open, agent, until } = setUp({ tracerProvider });
    agent.createTopic("t");
    exporter.reset();
    const consumer = open();
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const header = new TextEncoder().encode(`00-${traceId}-b7ad6b7169203331-01`);
    const record = new ConsumerRecord("t", 0, 7, 0, 0, null, null, [["traceparent", header]]);
    const inside = await consumer.process(record, () => trace.getActiveSpan());
    const [span] = exporter.getFinishedSpans();
    assert.equal(inside?.spanContext().spanId, span?.spanContext().spanId);
    assert.equal(span?.kind, SpanKind.CONSUMER);
    assert.deepEqual(
      span?.links.map((it) => it.context.traceId),
      [traceId],
    );
    const boom = new Error("the handler failed");
    const failing = consumer.process(record, () => {
      throw boom;
    });
    await assert.rejects(failing, boom);
    assert.equal(exporter.getFinishedSpans()[1]?.status.message, "the handler failed");
    await until(consumer.close());
  });
});
