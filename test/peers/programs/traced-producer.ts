/**
 * An application that sends: one record under a span of its own, then a batch of two records under two spans of two traces, then two
 * records by one `sendBatch()`.
 * Arguments: the agent's address, the topic. Prints the trace ids. Started by traces tests as a process of its own; what is exported
 * where is said by `OTEL_*` variables.
 */
import process from "node:process";
import { trace } from "@opentelemetry/api";
import { connect } from "../../../src/index.ts";
import { bootstrap } from "../../../src/telemetry.ts";

const [address = "", topic = ""] = process.argv.slice(2);
const sdk = bootstrap();
const house = await connect({ agents: [address] });
await house.admin.createTopic(topic, { partitions: 1 });
// Long enough for both sends of the mixed batch to be in it, on a machine that stalls too.
const producer = house.producer({ lingerMs: 300 });
const tracer = trace.getTracer("application");

function underSpan(
  name: string,
  send: () => Promise<unknown>,
): { readonly traceId: string; readonly sent: Promise<unknown> } {
  return tracer.startActiveSpan(name, (span) => {
    const sent = send().finally(() => span.end());
    return { traceId: span.spanContext().traceId, sent };
  });
}

const one = (value: string) => () => producer.send({ topic, key: "k", value });
const single = underSpan("checkout", one("one"));
await single.sent;
const mixed = [underSpan("order a", one("two")), underSpan("order b", one("three"))];
await Promise.all(mixed.map(({ sent }) => sent));
const bulk = underSpan("import", () =>
  producer.sendBatch({ topic, records: [{ value: "four" }, { value: "five" }] }),
);
await bulk.sent;
await house.close();
await sdk.shutdown();
const mixedIds = mixed.map(({ traceId }) => traceId);
console.log(JSON.stringify({ single: single.traceId, mixed: mixedIds, bulk: bulk.traceId }));
