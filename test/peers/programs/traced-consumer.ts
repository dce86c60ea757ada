/**
 * An application that processes five records, commits them under a span of its own, and ends. Arguments: the agent's address, the topic, the group. Prints what it read.
 * Started by traces tests as a process of its own; what is exported where is said by `OTEL_*` variables.
 */
import process from "node:process";
import { trace } from "@opentelemetry/api";
import { connect } from "../../../src/index.ts";
import { bootstrap } from "../../../src/telemetry.ts";

const [address = "", topic = "", group = ""] = process.argv.slice(2);
const sdk = bootstrap();
const house = await connect({ agents: [address] });
const consumer = house.consumer({ group, topics: [topic], offsetReset: "earliest" });
const values: string[] = [];
for await (const record of consumer) {
  await consumer.process(record, () => {
    values.push(new TextDecoder().decode(record.value ?? undefined));
  });
  if (values.length === 5) break;
}
await trace
  .getTracer("application")
  .startActiveSpan("settling", (span) => consumer.commit().finally(() => span.end()));
await house.close();
await sdk.shutdown();
console.log(JSON.stringify({ values }));
