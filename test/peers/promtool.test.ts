/** Prometheus's own checker reads what `/metrics` answers. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { createHandler } from "../../src/http/handler.ts";
import { bootstrap } from "../../src/telemetry/bootstrap.ts";
import { catalogue } from "../../src/telemetry/catalogue.ts";
import { createTelemetry, type Telemetry } from "../../src/telemetry/telemetry.ts";

/** Values for every instrument, with label values that want escaping. */
function fill(telemetry: Telemetry): void {
  for (const descriptor of Object.values(catalogue)) {
    for (const value of ['quote " backslash \\ newline \n', "ünïcode", "plain"]) {
      const attributes = Object.fromEntries(descriptor.attributes.map((key) => [key, value]));
      const { metrics } = telemetry;
      if (descriptor.kind === "counter") metrics.counter(descriptor, attributes).add(1);
      else if (descriptor.kind === "gauge") metrics.gauge(descriptor, attributes).set(1.5);
      else if (descriptor.kind === "upDownCounter") metrics.upDown(descriptor, attributes).add(-1);
      else metrics.histogram(descriptor, attributes).record(0.3);
    }
  }
}

for (const instruments of ["producer", "meter"] as const) {
  describe(`promtool check metrics, by ${instruments}`, () => {
    it("accepts /metrics with every instrument", async () => {
      const sdk = bootstrap({ env: {}, instruments, register: false });
      const telemetry = createTelemetry(sdk, { name: "test" });
      fill(telemetry);
      const handler = createHandler({ metrics: sdk.metrics });
      const response = await handler(new Request("http://localhost/metrics"));
      const text = await response.text();
      telemetry.close();
      await sdk.shutdown();
      const names = Object.values(catalogue).map(({ name }) => name.replaceAll(".", "_"));
      for (const name of names) assert.ok(text.includes(`# TYPE ${name}`), name);
      const checked = spawnSync("promtool", ["check", "metrics"], { input: text });
      assert.equal(checked.error, undefined);
      assert.deepEqual([checked.status, checked.stderr.toString()], [0, ""]);
    });
  });
}
