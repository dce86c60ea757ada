/**
 * A child program: a whole house does its work, measured as the first argument says, and is closed. Whatever state the telemetry is
 * in, the process must then end by itself: nothing here calls `exit`, and the SDK is not shut down.
 */
import { bootstrap } from "../../../src/telemetry/bootstrap.ts";
import { createTestHouse } from "../../../src/testing/test-house.ts";

const how = process.argv[2];
// Port 9 of the own machine: nobody answers there.
const collector = "http://127.0.0.1:9";
if (how === "collector down") {
  bootstrap({
    env: {
      ...{ OTEL_EXPORTER_OTLP_ENDPOINT: collector, OTEL_METRICS_EXPORTER: "otlp" },
      // A push that is under way holds the process for its timeout; the next one's timer does not.
      ...{ OTEL_METRIC_EXPORT_INTERVAL: "2000", OTEL_BSP_SCHEDULE_DELAY: "20" },
      ...{ OTEL_EXPORTER_OTLP_TIMEOUT: "200" },
    },
  });
} else if (how === "bootstrap") bootstrap({ env: {} });

const house = await createTestHouse({ topics: ["orders"], telemetry: {} });
const { offset } = await house.producer().send({ topic: "orders", value: "x" });
await house.close();
console.log(`sent at ${offset}`);
