// Agent, producer and consumer in one process, without a network. Everything is in the folder ./data-embedded, and as durable
// as with an agent of its own; leave `data` out and it lives in memory, for tests.
import process from "node:process";
import { embed } from "../src/agent.ts"; // in your project: "@streamhouse/streamhouse/agent"

const [data = "./data-embedded"] = process.argv.slice(2);

await using house = await embed({ data });
const topics = await house.admin.listTopics();
if (!topics.some((topic) => topic.name === "clicks")) {
  await house.admin.createTopic("clicks", { partitions: 2 });
}

await using producer = house.producer({ lingerMs: 0 });
for (const page of ["/", "/docs", "/docs/guarantees"]) {
  await producer.send({ topic: "clicks", key: "visitor-1", value: page });
}

await using consumer = house.consumer({ group: "statistics", topics: ["clicks"] });
let read = 0;
for await (const record of consumer) {
  console.log(`${record.topic}/${record.partition}@${record.offset}: ${record.text()}`);
  await consumer.commit();
  read += 1;
  if (read === 3) break;
}
