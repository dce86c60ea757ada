import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { catalogue } from "../../../src/telemetry/catalogue.ts";

/** The contract with dashboards and alert rules: these names and labels do not change. */
const required: Readonly<Record<string, readonly [kind: string, unit: string, labels: string]>> = {
  streamhouse_records_sent_total: ["counter", "{record}", "topic partition"],
  streamhouse_bytes_sent_total: ["counter", "{byte}", "topic"],
  streamhouse_send_duration_seconds: ["histogram", "s", "topic"],
  streamhouse_batch_flush_duration_seconds: ["histogram", "s", "topic"],
  streamhouse_batch_size_records: ["histogram", "{record}", "topic"],
  streamhouse_batch_size_bytes: ["histogram", "By", "topic"],
  streamhouse_send_errors_total: ["counter", "{record}", "topic error_type"],
  streamhouse_pending_records: ["upDownCounter", "{record}", "topic"],
  streamhouse_records_consumed_total: ["counter", "{record}", "topic group_id partition"],
  streamhouse_bytes_consumed_total: ["counter", "{byte}", "topic group_id"],
  streamhouse_poll_duration_seconds: ["histogram", "s", "group_id"],
  streamhouse_consumer_lag_records: ["gauge", "{record}", "topic partition group_id"],
  streamhouse_consumer_lag_seconds: ["gauge", "s", "topic partition group_id"],
  streamhouse_last_committed_offset: ["gauge", "{offset}", "topic partition group_id"],
  streamhouse_current_offset: ["gauge", "{offset}", "topic partition group_id"],
  streamhouse_active_partitions: ["gauge", "{partition}", "topic"],
  streamhouse_lease_renewals_total: ["counter", "{renewal}", "status"],
  streamhouse_records_written_total: ["counter", "{record}", "topic partition"],
  streamhouse_write_latency_seconds: ["histogram", "s", "topic"],
  streamhouse_active_connections: ["upDownCounter", "{connection}", ""],
  streamhouse_grpc_requests_total: ["counter", "{request}", "method status"],
  streamhouse_grpc_request_duration_seconds: ["histogram", "s", "method"],
};

const underscored = (name: string) => name.replaceAll(".", "_");

describe("the catalogue", () => {
  const byPrometheusName = new Map(
    Object.values(catalogue).map((descriptor) => [
      `${underscored(descriptor.name)}${descriptor.kind === "counter" ? "_total" : ""}`,
      descriptor,
    ]),
  );

  it("holds the 22 required instruments, to the letter", () => {
    assert.equal(Object.keys(required).length, 22);
    for (const [name, [kind, unit, labels]] of Object.entries(required)) {
      const found = byPrometheusName.get(name);
      assert.ok(found !== undefined, `${name} is missing`);
      assert.deepEqual(
        [found.kind, found.unit, found.attributes.map(underscored).join(" ")],
        [kind, unit, labels],
        name,
      );
    }
  });

  it("names each instrument once, as OpenTelemetry and Prometheus allow", () => {
    assert.equal(byPrometheusName.size, Object.keys(catalogue).length);
    for (const { name, unit, description, kind, family } of Object.values(catalogue)) {
      if (family === "semconv") continue;
      assert.match(name, /^streamhouse(\.[a-z]+(_[a-z]+)*)+$/);
      assert.notEqual(description, "");
      // The stock exporter adds no unit to names: a duration carries it, and nothing else ends like a counter.
      assert.equal(name.endsWith(".seconds"), unit === "s", name);
      assert.doesNotMatch(name, /[._](total|count|sum|bucket|info)$/);
      if (kind === "histogram") assert.ok(["s", "By", "{record}"].includes(unit));
    }
  });

  it("gives histograms ascending bounds, and says of every gauge with a partition how it folds", () => {
    for (const descriptor of Object.values(catalogue)) {
      const { name, kind, buckets, attributes, withoutPartition } = descriptor;
      if (kind === "histogram") {
        assert.ok(buckets !== undefined && buckets.length > 0, name);
        assert.deepEqual(
          [...buckets].sort((a, b) => a - b),
          [...new Set(buckets)],
          name,
        );
      } else assert.equal(buckets, undefined, name);
      const folds = kind === "gauge" && attributes.includes("partition");
      assert.equal(withoutPartition !== undefined, folds, name);
    }
  });
});
