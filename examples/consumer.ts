// Reads the orders as group "billing", until Ctrl-C. Start it again and it goes on where it was. Needs an agent with the
// topic: start examples/agent.ts, then examples/producer.ts.
import process from "node:process";
import { connect } from "../src/index.ts"; // in your project: "@streamhouse/streamhouse"

const [agent = "localhost:7070"] = process.argv.slice(2);

const house = await connect({ agents: [agent] });
const consumer = house.consumer({ group: "billing", topics: ["orders"] });
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void consumer.close());
}

let total = 0;
let orders = 0;
for await (const record of consumer) {
  // A record counts as finished, and will be committed, when the loop asks for the next one.
  const order = record.json<{ order: number; total: number }>();
  total += order.total;
  orders += 1;
  if (orders % 100 === 0) console.log(`${orders} orders, ${total.toFixed(2)} in all`);
}
await house.close();
