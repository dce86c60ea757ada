/** The entry of a bundle for workers: the application and our door, without anything of a server runtime. */
import { createPrometheusHandler, createPrometheusReader } from "../../src/prometheus.ts";
import { startApplication } from "./exposition-application.ts";

/** What a worker would export as its `fetch`. */
export function startWorker(): {
  fetch(request: Request): Promise<Response>;
  fail(): void;
  shutdown(): Promise<void>;
} {
  let handler: ReturnType<typeof createPrometheusHandler> | undefined;
  const application = startApplication((metricProducers) => {
    const reader = createPrometheusReader({ metricProducers });
    handler = createPrometheusHandler(reader);
    return reader;
  });
  return { fetch: async (request) => handler?.(request) ?? new Response(), ...application };
}
