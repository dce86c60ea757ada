import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readEnvironment } from "../../../src/telemetry/bootstrap-environment.ts";

describe("the OTEL_* variables", () => {
  it("ask for nothing but /metrics when none is set", () => {
    const settings = readEnvironment({});
    assert.equal(settings.disabled, false);
    assert.deepEqual(settings.traces, { otlp: undefined, console: false });
    assert.equal(settings.metrics.prometheus, true);
    assert.equal(settings.metrics.otlp, undefined);
    assert.deepEqual(settings.sampler, { name: "always_on", parentBased: true, ratio: 1 });
    assert.deepEqual(settings.warnings, []);
  });

  it("treat an empty value as unset", () => {
    const settings = readEnvironment({
      OTEL_EXPORTER_OTLP_ENDPOINT: "",
      OTEL_TRACES_SAMPLER: " ",
      OTEL_SDK_DISABLED: "",
    });
    assert.equal(settings.traces.otlp, undefined);
    assert.deepEqual(settings.warnings, []);
  });

  it("add the signal's path to the common endpoint only", () => {
    const common = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318/" };
    assert.equal(readEnvironment(common).traces.otlp?.url, "http://collector:4318/v1/traces");
    const own = readEnvironment({
      ...common,
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://traces:443/in",
      OTEL_METRICS_EXPORTER: "otlp",
    });
    assert.equal(own.traces.otlp?.url, "https://traces/in");
    assert.equal(own.metrics.otlp?.url, "http://collector:4318/v1/metrics");
  });

  it("export to the exporter's default address only when asked by name", () => {
    const otlp = readEnvironment({ OTEL_TRACES_EXPORTER: "otlp" }).traces.otlp;
    assert.notEqual(otlp, undefined);
    assert.equal(otlp?.url, undefined);
    const none = { OTEL_TRACES_EXPORTER: "none", OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:1" };
    assert.equal(readEnvironment(none).traces.otlp, undefined);
  });

  it("choose the protocol, the timeout, the headers and the compression of a signal", () => {
    const otlp = readEnvironment({
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:4318",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_TIMEOUT: "2000",
      OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: "1000",
      OTEL_EXPORTER_OTLP_HEADERS: "api-key=a%20b, x=1",
      OTEL_EXPORTER_OTLP_TRACES_HEADERS: "x=2",
      OTEL_EXPORTER_OTLP_COMPRESSION: "gzip",
    }).traces.otlp;
    assert.deepEqual(otlp, {
      url: "http://c:4318/v1/traces",
      protocol: "http/json",
      headers: { "api-key": "a b", x: "2" },
      timeoutMillis: 1000,
      compression: "gzip",
    });
  });

  it("name the service over what the resource attributes say", () => {
    const env = { OTEL_RESOURCE_ATTRIBUTES: "service.name=a,team=log%2Cs", OTEL_SERVICE_NAME: "b" };
    assert.deepEqual(readEnvironment(env).resource, { "service.name": "b", team: "log,s" });
  });

  it("choose the sampler and its ratio", () => {
    const read = (sampler: string, ratio?: string) =>
      readEnvironment({ OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: ratio }).sampler;
    assert.deepEqual(read("always_off"), { name: "always_off", parentBased: false, ratio: 1 });
    assert.deepEqual(read("parentbased_traceidratio", "0.01"), {
      name: "traceidratio",
      parentBased: true,
      ratio: 0.01,
    });
  });

  it("warn about what they do not understand, naming it, and go on", () => {
    const cases: readonly (readonly [string, string, RegExp])[] = [
      ["OTEL_TRACES_SAMPLER", "sometimes", /OTEL_TRACES_SAMPLER=sometimes is ignored/],
      ["OTEL_BSP_MAX_QUEUE_SIZE", "-3", /OTEL_BSP_MAX_QUEUE_SIZE=-3 is ignored/],
      ["OTEL_TRACES_EXPORTER", "zipkin", /OTEL_TRACES_EXPORTER=zipkin is ignored/],
      ["OTEL_METRICS_EXPORTER", "statsd", /OTEL_METRICS_EXPORTER=statsd is ignored/],
      ["OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", /expected a URL/],
      ["OTEL_RESOURCE_ATTRIBUTES", "novalue", /OTEL_RESOURCE_ATTRIBUTES/],
      ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0.5", /expected a whole number/],
      ["OTEL_METRIC_EXPORT_INTERVAL", "99999999999", /OTEL_METRIC_EXPORT_INTERVAL/],
      ["OTEL_PROPAGATORS", "b3", /OTEL_PROPAGATORS=b3 is ignored/],
      ["OTEL_METRICS_EXEMPLAR_FILTER", "always_on", /trace_based is used/],
      [
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "sideways",
        /expected cumulative or delta or lowmemory; cumulative is used/,
      ],
      [
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "base2_exponential_bucket_histogram",
        /explicit_bucket_histogram is used/,
      ],
    ];
    for (const [name, value, expected] of cases) {
      const { warnings } = readEnvironment({ [name]: value });
      assert.equal(warnings.length, 1, name);
      assert.match(warnings[0] ?? "", expected);
    }
    const otlp = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:1", OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" };
    const { traces, warnings } = readEnvironment(otlp);
    assert.equal(traces.otlp?.protocol, "http/protobuf");
    assert.match(warnings[0] ?? "", /grpc is not supported/);
  });

  it("are warned about once, by the name that was set, however many signals read them", () => {
    const common = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:1", OTEL_METRICS_EXPORTER: "otlp" };
    const both = readEnvironment({ ...common, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" });
    assert.equal(both.warnings.length, 1);
    const one = readEnvironment({ ...common, OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: "carrier" });
    assert.match(one.warnings.join(), /^OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=carrier/);
    assert.equal(one.metrics.otlp?.protocol, "http/protobuf");
  });

  it("choose temporality, exemplars and propagators", () => {
    const settings = readEnvironment({
      OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "Delta",
      OTEL_METRICS_EXEMPLAR_FILTER: "always_off",
      OTEL_PROPAGATORS: "tracecontext",
    });
    assert.equal(settings.metrics.temporality, "delta");
    assert.equal(settings.metrics.exemplars, false);
    assert.deepEqual(settings.propagators, ["tracecontext"]);
    assert.deepEqual(readEnvironment({ OTEL_PROPAGATORS: "none" }).propagators, []);
    assert.deepEqual(readEnvironment({}).propagators, ["tracecontext", "baggage"]);
    assert.deepEqual(settings.warnings, []);
  });

  it("do not repeat a header that may be a secret", () => {
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:1",
      OTEL_EXPORTER_OTLP_HEADERS: "secret%zz",
    };
    assert.doesNotMatch(readEnvironment(env).warnings.join(), /secret/);
  });

  it("send users of the old Jaeger variable to OTLP", () => {
    const { warnings } = readEnvironment({ OTEL_EXPORTER_JAEGER_ENDPOINT: "http://jaeger:14268" });
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /OTEL_EXPORTER_OTLP_ENDPOINT/);
  });
});
