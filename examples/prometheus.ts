// An OpenTelemetry application that has nothing to do with StreamHouse, and its metrics for Prometheus: on Node, Bun and Deno.
import process from "node:process";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { createPrometheusReader, servePrometheus } from "../src/prometheus.ts"; // in your project: "@streamhouse/streamhouse/prometheus"

const [port = "9464"] = process.argv.slice(2);

const reader = createPrometheusReader();
const meterProvider = new MeterProvider({ readers: [reader] });
const meter = meterProvider.getMeter("bakery");
const loaves = meter.createCounter("loaves.baked", { unit: "{loaf}", description: "Loaves baked" });
const heat = meter.createHistogram("oven.duration", {
  unit: "s",
  description: "Time in the oven",
  // The SDK's own bounds are meant for milliseconds.
  advice: { explicitBucketBoundaries: [0.1, 0.25, 0.5, 1, 2.5, 5] },
});

const bake = () => {
  loaves.add(12, { kind: "rye" });
  heat.record(0.2 + Math.random(), { oven: "left" });
};
bake();
const baking = setInterval(bake, 1_000);

// On loopback only, unless `host` says otherwise. Within a server of your own, `createPrometheusHandler(reader)` is the route.
const server = await servePrometheus(reader, { port: Number(port) });
console.log(`metrics on ${server.url}`);

const stop = async () => {
  clearInterval(baking);
  await server.close();
  await meterProvider.shutdown();
};
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void stop());
