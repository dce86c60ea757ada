/** A child program: sets OpenTelemetry up from the real environment, does some work, and says in JSON what became of it. */
import process from "node:process";
import { metrics, trace } from "@opentelemetry/api";
import { bootstrap } from "../../src/telemetry/bootstrap.ts";
import { createTestHouse } from "../../src/testing/test-house.ts";

const before = metrics.getMeterProvider();
const sdk = bootstrap({ logger: { warn: () => {} } });
const registered = metrics.getMeterProvider() !== before;
const house = await createTestHouse({ topics: ["orders"], telemetry: {} });
// One producer: the order between several is nobody's.
const producer = house.producer();
const sends = Array.from({ length: 7 }, () => producer.send({ topic: "orders", value: "x" }));
const offsets = (await Promise.all(sends)).map(({ offset }) => offset);
trace.getTracer("app").startSpan("work").end();
const { body } = await sdk.metrics.collect();
// Lives until the test has seen what it waits for: at its end Deno exports no observable instruments any more.
for await (const _ of process.stdin);
await house.close();
await sdk.shutdown();
console.log(JSON.stringify({ registered, offsets, warnings: sdk.warnings, text: body }));
