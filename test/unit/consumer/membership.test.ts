import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { isHistogram, type MetricRegistry } from "../../../src/telemetry/cells.ts";
import { capturingProvider } from "../../fault/telemetry/sabotage.ts";
import { unavailable } from "./fake-agent.ts";
import { refused, setUp, take, texts, values } from "./setup.ts";

const zero = { topic: "t", partition: 0 };
const one = { topic: "t", partition: 1 };

/** Lost memberships by reason, as exported. */
function lossesOf(registries: readonly MetricRegistry[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { descriptor, series } of registries.flatMap((it) => [...it.collect()])) {
    if (descriptor.name !== catalogue.membershipsLost.name) continue;
    for (const { attributes, cell } of series.values()) {
      if (!isHistogram(cell)) found[String(attributes.reason)] = cell.value;
    }
  }
  return found;
}

function measured() {
  const { meterProvider, registries } = capturingProvider();
  return { ...setUp({ meterProvider }), registries };
}

describe("a member that no agent answers for a session's length", () => {
  it("hands out nothing more, tells its application, and commits nothing, before it can join again", async () => {
    const { agent, clock, network, open, until, registries } = measured();
    agent.createTopic("t");
    await agent.append("t", values(5));
    const consumer = open({ sessionTimeoutMs: 3_000 });
    const told: string[] = [];
    consumer.onRevoked((_, { lost }) => void told.push(`lost ${lost} at ${clock.monotonic()}`));
    const iterator = consumer[Symbol.asyncIterator]();
    await until(iterator.next());
    const { heartbeats, commits } = agent.groups;
    const sent = heartbeats.length;
    network.down = true;
    await clock.run(3_500);
    assert.equal(heartbeats.length, sent);
    assert.equal(told.length, 1);
    assert.match(
      told[0] ?? "",
      /^lost true at (2\d\d\d|3000)/,
      "from before the last one was sent",
    );
    assert.deepEqual(consumer.assignment(), []);
    const before = commits.length;
    await refused(until(consumer.commit()), "GROUP_FENCED");
    assert.equal(commits.length, before);
    assert.deepEqual(lossesOf(registries), { session_timeout: 1 });
    network.down = false;
    assert.equal((await until(iterator.next())).value?.text(), "v0", "given again");
    await until(consumer.close());
    assert.equal(clock.pending, 0);
  });

  it("fences itself before the next record, also if its timers have not rung yet", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(5));
    const consumer = open({ sessionTimeoutMs: 3_000 });
    const iterator = consumer[Symbol.asyncIterator]();
    assert.equal((await until(iterator.next())).value?.text(), "v0");
    await clock.run(1);
    // As a process that is woken: time has passed, and the application comes first.
    const { monotonic } = clock;
    const awake = monotonic.call(clock);
    clock.monotonic = () => awake + 60_000;
    const next = iterator.next();
    assert.deepEqual(consumer.assignment(), [], "lost before anything is handed out");
    agent.groups.expel();
    agent.groups.setCommitted("t", 0, 3);
    clock.monotonic = monotonic;
    assert.equal((await until(next)).value?.text(), "v3", "where the others have come to");
    await until(consumer.close());
  });

  it("leaves an agent that hangs for another, in time to stay a member", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open({ sessionTimeoutMs: 9_000, requestTimeoutMs: 60_000 });
    let lost = 0;
    consumer.onRevoked(() => void lost++);
    await until(consumer.poll(100));
    agent.hanging.add("heartbeat");
    await clock.run(2_000);
    const sent = agent.groups.heartbeats.length;
    await clock.run(3_000);
    agent.hanging.delete("heartbeat");
    await clock.run(3_000);
    assert.ok(agent.groups.heartbeats.length > sent, "the call was given up, and made again");
    assert.equal(lost, 0);
    await until(consumer.close());
  });
});

describe("a commit", () => {
  it("that has to be sent again is not sent for a partition that was lost meanwhile, though it came back", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(4));
    const consumer = open({ autoCommit: false, sessionTimeoutMs: 300_000 });
    await until(consumer.poll(1_000));
    agent.fault("commitOffsets", unavailable("no answer"), unavailable("no answer"));
    const commit = refused(consumer.commit(), "GROUP_FENCED");
    agent.groups.expel();
    agent.fault("heartbeat");
    agent.groups.setCommitted("t", 0, 2);
    agent.fault("fetch", unknown());
    await agent.append("t", ["v4"]);
    await clock.run(2_000);
    await until(commit);
    assert.equal(agent.groups.commits.length, 0);
    assert.deepEqual(texts(await until(consumer.poll(1_000))), ["v2", "v3", "v4"]);
    await until(consumer.close());
  });
});

function unknown(): StreamHouseError {
  return new StreamHouseError({ code: "UNKNOWN_MEMBER", kind: "fenced", message: "no member" });
}

describe("a rebalance", () => {
  it("disturbs nothing that stays: it is handed out without a gap or a repetition, while the rest is let go", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", values(3), { partition: 0 });
    const consumer = open();
    const iterator = consumer[Symbol.asyncIterator]();
    assert.equal((await until(iterator.next())).value?.text(), "v0");
    const told: string[] = [];
    consumer.onRevoked((all) => void told.push(`revoked ${all.map((it) => it.partition)}`));
    consumer.onAssigned((all) => void told.push(`assigned ${all.map((it) => it.partition)}`));
    agent.groups.plan = [["t", 1]];
    await clock.run(2_000);
    assert.deepEqual(told, [], "partition 0 waits for its record in hand");
    await agent.append("t", values(20, 100), { partition: 1 });
    const seen: string[] = [];
    for (let i = 0; i < 20; i++) seen.push((await until(iterator.next())).value?.text() ?? "");
    assert.deepEqual(seen, values(20, 100));
    assert.deepEqual(told, ["revoked 0"], "what stays is not told of");
    await until(consumer.close());
  });

  it("waits for a listener that is being told, no longer than its timeout", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    const consumer = open({ rebalanceTimeoutMs: 8_000 });
    await until(consumer.poll(100));
    consumer.onRevoked(() => new Promise<void>((resolve) => clock.schedule(60_000, resolve)));
    agent.groups.plan = [["t", 1]];
    await clock.run(3_000);
    const ownedNow = () => agent.groups.heartbeats.at(-1)?.owned.map((it) => it.partition);
    assert.deepEqual(ownedNow()?.toSorted(), [0, 1], "still the member's while it is told");
    await clock.run(5_500);
    assert.deepEqual(ownedNow(), [1], "let go in time to stay in the group");
    await until(consumer.close());
  });

  it("that gives a partition and takes it back before it was begun hands out nothing of it", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    await agent.append("t", values(3), { partition: 1 });
    agent.groups.plan = [["t", 0]];
    const answers = Promise.withResolvers<[]>();
    const told: string[] = [];
    let asked = 0;
    const consumer = open({ startOffsets: () => (asked++ === 0 ? [] : answers.promise) });
    consumer.onAssigned((all) => void told.push(`assigned ${all.map((it) => it.partition)}`));
    const reading = consumer.poll(20_000);
    await clock.run(500);
    agent.groups.plan = undefined;
    await clock.run(2_000);
    const claimed = agent.groups.heartbeats.at(-1)?.owned.map((it) => it.partition);
    assert.deepEqual(claimed?.toSorted(), [0, 1], "claimed while it is being begun");
    agent.groups.plan = [["t", 0]];
    await clock.run(1_500);
    answers.resolve([]);
    assert.deepEqual(await until(reading), []);
    assert.deepEqual(told, ["assigned 0"]);
    await until(consumer.close());
  });
});

describe("an application that does not come back to read", () => {
  it("loses its membership, is told so, and joins anew with its next read", async () => {
    const { agent, clock, open, until, registries, warnings } = measured();
    agent.createTopic("t");
    await agent.append("t", values(3));
    const consumer = open({ maxPollIntervalMs: 20_000 });
    const told: string[] = [];
    consumer.onRevoked((_, { lost }) => void told.push(`lost ${lost}`));
    const iterator = consumer[Symbol.asyncIterator]();
    await until(iterator.next());
    const first = consumer.memberId;
    await clock.run(19_000);
    assert.deepEqual(told, []);
    await clock.run(2_000);
    assert.deepEqual(told, ["lost true"]);
    assert.equal(agent.groups.members.size, 0, "the group moves on");
    assert.equal(agent.groups.left, 1);
    const beats = agent.groups.heartbeats.length;
    await clock.run(60_000);
    assert.equal(agent.groups.heartbeats.length, beats, "and hears no more of it");
    assert.deepEqual(lossesOf(registries), { max_poll_interval: 1 });
    assert.ok(warnings.some((it) => it.message.includes("raise maxPollIntervalMs")));
    assert.equal((await until(iterator.next())).value?.text(), "v0", "given again");
    assert.notEqual(
      consumer.memberId,
      first,
      "nothing late of the first stay can touch the second",
    );
    await until(consumer.close());
    assert.equal(agent.groups.left, 2);
    assert.equal(clock.pending, 0);
  });

  it("is one that works, not one that waits for records or reads slowly", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open({ maxPollIntervalMs: 5_000 });
    let lost = 0;
    consumer.onRevoked(() => void lost++);
    const waiting = take(consumer, 1);
    await clock.run(60_000);
    await agent.append("t", values(10));
    assert.deepEqual(await until(waiting), ["v0"]);
    const iterator = consumer[Symbol.asyncIterator]();
    for (let i = 0; i < 8; i++) {
      await until(iterator.next());
      await clock.run(4_000);
    }
    assert.equal(lost, 0);
    await until(consumer.close());
  });
});

describe("a static member", () => {
  it("says its instance id, and keeps its place when it closes", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    const consumer = open({ groupInstanceId: "billing-0", rebalanceTimeoutMs: 7_000 });
    await until(consumer.poll(100));
    const [join] = agent.groups.heartbeats;
    assert.deepEqual([join?.instanceId, join?.rebalanceTimeoutMs], ["billing-0", 7_000]);
    await until(consumer.close());
    assert.deepEqual(
      agent.groups.leaves.map((it) => it.keepPlace),
      [true],
    );
    const dynamic = open();
    await until(dynamic.poll(100));
    await until(dynamic.close());
    assert.equal(agent.groups.leaves.at(-1)?.keepPlace, false);
  });

  it("whose place is still another's waits for a session's length, and says then who is in its way", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    await agent.append("t", values(1));
    const taken = Array.from({ length: 3 }, () => inUse());
    agent.fault("heartbeat", ...taken);
    const options = { groupInstanceId: "billing-0", sessionTimeoutMs: 10_000 };
    const heir = open(options);
    assert.deepEqual(await until(take(heir, 1)), ["v0"], "the killed one's session has ended");
    await until(heir.close());
    agent.fault("heartbeat", ...Array.from({ length: 100 }, () => inUse()));
    const second = open(options);
    const at = clock.monotonic();
    await refused(until(second.poll(60_000)), "INSTANCE_ID_IN_USE");
    assert.ok(clock.monotonic() - at >= 10_000);
    agent.faults.clear();
    await until(second.poll(1_000));
    assert.deepEqual(second.assignment(), [zero], "and may try again");
    await until(second.close());
  });

  it("whose place was taken while it was out is told, and does not fight for it", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t", 2);
    const consumer = open({ groupInstanceId: "billing-0" });
    await until(consumer.poll(100));
    agent.groups.expel();
    agent.fault("heartbeat", unknown(), inUse());
    await clock.run(2_000);
    const beats = agent.groups.heartbeats.length;
    await clock.run(30_000);
    assert.equal(agent.groups.heartbeats.length, beats);
    await refused(until(consumer.poll(100)), "INSTANCE_ID_IN_USE");
    await until(consumer.poll(100));
    assert.deepEqual(consumer.assignment(), [zero, one]);
    await until(consumer.close());
  });
});

function inUse(): StreamHouseError {
  const message = "group g has a live member with instance id billing-0";
  return new StreamHouseError({ code: "INSTANCE_ID_IN_USE", kind: "conflict", message });
}
