/** A program that serves its metrics, and has nothing to do once its standard input ends. Run by the test of the same name. */
import process from "node:process";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { servePrometheus } from "../../src/prometheus/listen.ts";
import { createPrometheusReader } from "../../src/prometheus/reader.ts";

const reader = createPrometheusReader();
new MeterProvider({ readers: [reader] }).getMeter("m").createCounter("c").add(1);
const server = await servePrometheus(reader, { port: 0 });
console.log(server.url);
process.stdin.resume();
