// Sends a thousand orders. Needs an agent: start examples/agent.ts first.
import process from "node:process";
import { connect } from "../src/index.ts"; // in your project: "@streamhouse/streamhouse"

const [agent = "localhost:7070"] = process.argv.slice(2);

await using house = await connect({ agents: [agent] });
const topics = await house.admin.listTopics();
if (!topics.some((topic) => topic.name === "orders")) {
  await house.admin.createTopic("orders", { partitions: 3 });
}

await using producer = house.producer();

// One record, and where it went once it is durable.
const first = await producer.send({
  topic: "orders",
  key: "customer-1",
  value: JSON.stringify({ order: 0, total: 9.5 }),
  headers: { source: "example" },
});
console.log(`order 0 is in partition ${first.partition} at offset ${first.offset}`);

// Many: no need to wait for one before the next, they travel in batches.
const sends = Array.from({ length: 999 }, (_, i) =>
  producer.send({
    topic: "orders",
    key: `customer-${i % 20}`,
    value: JSON.stringify({ order: i + 1, total: 9.5 + i }),
  }),
);
await Promise.all(sends);
console.log(`sent ${sends.length + 1} orders`);
