/** A child program: an SDK is registered, every door is imported, and nothing may have asked it for a meter or a tracer. */
import { readdirSync } from "node:fs";
import { createNoopMeter, metrics, ProxyTracerProvider, trace } from "@opentelemetry/api";

const asked: string[] = [];
metrics.setGlobalMeterProvider({
  getMeter(name) {
    asked.push(`meter ${name}`);
    return createNoopMeter();
  },
});
trace.setGlobalTracerProvider({
  getTracer(name) {
    asked.push(`tracer ${name}`);
    return new ProxyTracerProvider().getTracer("");
  },
});

const source = new URL("../../../src/", import.meta.url);
const doors = readdirSync(source).filter((name) => name.endsWith(".ts"));
for (const door of doors) await import(new URL(door, source).href);
console.log(JSON.stringify({ doors, asked }));
