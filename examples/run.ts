// Works on the orders as group "shipping", ten at a time and in order for each customer, until Ctrl-C: tries again what fails, and puts
// what cannot be shipped into a topic of its own. Needs an agent with the topic: start examples/agent.ts, then examples/producer.ts.
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { connect, RetryLater } from "../src/index.ts"; // in your project: "@streamhouse/streamhouse"

const [agent = "localhost:7070"] = process.argv.slice(2);

await using house = await connect({ agents: [agent] });
const topics = await house.admin.listTopics();
if (!topics.some((topic) => topic.name === "orders-unshipped")) {
  await house.admin.createTopic("orders-unshipped", { partitions: 1 });
}

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());

let shipped = 0;
await using consumer = house.consumer({
  group: "shipping",
  topics: ["orders"],
  autoCommitIntervalMs: 1_000,
});
await consumer.run(
  async (record, { attempt, signal }) => {
    const { order } = record.json<{ order: number }>();
    // The carrier is away: no failure, but not now. The customer's later orders wait, other customers' do not.
    if (order % 100 === 50 && attempt === 1) throw new RetryLater(100, "no van is here");
    if (order % 250 === 249) throw new Error("the address does not exist");
    // The signal aborts if the work takes too long, or another member has the partition by now.
    await wait(1, undefined, { signal });
    shipped += 1;
    if (shipped % 100 === 0) console.log(`${shipped} orders shipped`);
  },
  {
    concurrency: 10,
    orderBy: "key",
    retry: { attempts: 3, baseMs: 50 },
    handlerTimeoutMs: 10_000,
    deadLetterTopic: "orders-unshipped",
    signal: stop.signal,
  },
);

// What is finished is committed by now. The orders that were given up say why, and where they come from.
const unshipped = house.consumer({ assign: [{ topic: "orders-unshipped", partition: 0 }] });
for (const record of await unshipped.poll(1_000)) {
  const { order } = record.json<{ order: number }>();
  console.log(`order ${order} was not shipped: ${record.header("dead-letter-message")}`);
}
