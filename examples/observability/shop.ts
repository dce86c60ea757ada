// An application to look at: it sends orders, bills them in one group, and counts them in another that is slower than the orders come.
// Its own metrics are on port 9464; each order is one trace from send to bill.
import process from "node:process";
import { SpanKind, trace } from "@opentelemetry/api";
import { serve as listen } from "srvx";
import { createHandler } from "../../src/http.ts"; // in your project: "@streamhouse/streamhouse/http"
import { connect } from "../../src/index.ts"; // in your project: "@streamhouse/streamhouse"
import { bootstrap } from "../../src/telemetry.ts"; // in your project: "@streamhouse/streamhouse/telemetry"

const { AGENT = "localhost:7070", PORT = "9464", ORDERS_PER_SECOND = "50" } = process.env;
const { HOST = "0.0.0.0" } = process.env;

// First of all: clients find the providers that are registered when they are made.
const telemetry = bootstrap({ serviceName: "shop" });
const tracer = trace.getTracer("shop");

const house = await connect({ agents: [AGENT] });
const topics = await house.admin.listTopics();
if (!topics.some((topic) => topic.name === "orders")) {
  await house.admin.createTopic("orders", { partitions: 3, retentionMs: 24 * 3_600_000 });
}
const producer = house.producer();
const billing = house.consumer({ group: "billing", topics: ["orders"] });
const statistics = house.consumer({ group: "statistics", topics: ["orders"] });

let number = 0;
const selling = setInterval(() => {
  number += 1;
  const order = { number, customer: number % 100, total: (number * 7) % 90 };
  tracer.startActiveSpan("POST /orders", { kind: SpanKind.SERVER }, (span) => {
    const sent = producer.send({
      topic: "orders",
      key: `customer-${order.customer}`,
      value: JSON.stringify(order),
    });
    sent.catch((error: unknown) => console.error(String(error))).finally(() => span.end());
  });
}, 1_000 / Number(ORDERS_PER_SECOND));

const reading = (async () => {
  for await (const record of billing) {
    await billing.process(record, () => record.json<{ total: number }>().total);
  }
})();
const counting = (async () => {
  let count = 0;
  for await (const _record of statistics) {
    count += 1;
    // Slower than the shop sells: this group's lag grows for as long as it runs.
    await new Promise((resolve) => setTimeout(resolve, 1_500 / Number(ORDERS_PER_SECOND)));
  }
  return count;
})();

const server = listen({
  fetch: createHandler({ metrics: telemetry.metrics }),
  hostname: HOST,
  port: Number(PORT),
  silent: true,
  gracefulShutdown: false,
});
await server.ready();
console.log(`shop sells; its metrics are on ${server.url}metrics`);

const stop = async () => {
  clearInterval(selling);
  await Promise.all([producer.close(), billing.close(), statistics.close()]);
  await Promise.all([reading, counting]);
  await house.close();
  await server.close(true);
  await telemetry.shutdown();
};
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void stop());
