import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { MeterProvider, type ViewOptions } from "@opentelemetry/sdk-metrics";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { prometheusViews } from "../../../src/telemetry/prometheus-views.ts";
import { createTelemetry } from "../../../src/telemetry/telemetry.ts";

/** What the stock exporter of an application with its own SDK prints. */
async function stockText(views: ViewOptions[]): Promise<string> {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const meterProvider = new MeterProvider({ readers: [exporter], views });
  const telemetry = createTelemetry({ meterProvider }, { name: "test" });
  for (const descriptor of Object.values(catalogue)) {
    if (descriptor.kind !== "histogram") continue;
    telemetry.metrics.histogram(descriptor, { topic: "t" }).record(0.3);
  }
  meterProvider.getMeter("app").createHistogram("rpc.server.call.duration").record(1);
  const { resourceMetrics } = await exporter.collect();
  await meterProvider.shutdown();
  return new PrometheusSerializer().serialize(resourceMetrics);
}

describe("prometheusViews", () => {
  it("give the stock exporter's durations the names that every other route prints", async () => {
    const text = await stockText(prometheusViews());
    const durations = Object.values(catalogue).filter(
      (it) => it.kind === "histogram" && it.unit === "s",
    );
    for (const { name } of durations) {
      const printed = name.replaceAll(".", "_").replace(/(_seconds)?$/, "_seconds");
      assert.ok(text.includes(`# TYPE ${printed} histogram`), printed);
    }
    assert.match(text, /^# TYPE messaging_client_operation_duration_seconds histogram$/m);
  });

  it("keep unit, buckets and description, and leave every other instrument alone", async () => {
    const [plain, renamed] = [await stockText([]), await stockText(prometheusViews())];
    const name = /(messaging_[a-z_]*duration|rpc_client_call_duration)(_seconds)?/;
    const lines = (text: string) =>
      text
        .split("\n")
        .filter((line) => name.test(line))
        .map((line) => line.replace(name, "$1"))
        .sort();
    assert.deepEqual(lines(renamed), lines(plain));
    assert.ok(lines(plain).length > 30);
    // The application's own instrument of the same name is not ours to rename.
    assert.match(renamed, /^rpc_server_call_duration_count\{[^}]*otel_scope_name="app"/m);
  });
});
