import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { trace } from "@opentelemetry/api";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
import { createTelemetry } from "../../../src/telemetry/telemetry.ts";

describe("whether spans go anywhere", () => {
  afterEach(() => trace.disable());

  it("is said to be false without a tracer provider, and with `telemetry: false`", () => {
    for (const options of [undefined, {}, false] as const) {
      const telemetry = createTelemetry(options, { name: "producer" });
      assert.equal(telemetry.traces, false);
      telemetry.close();
    }
    trace.setGlobalTracerProvider(new BasicTracerProvider());
    assert.equal(createTelemetry(false, { name: "producer" }).traces, false);
  });

  it("is true with a provider that is given", () => {
    const options = { tracerProvider: new BasicTracerProvider() };
    const telemetry = createTelemetry(options, { name: "producer" });
    assert.equal(telemetry.traces, true);
    telemetry.close();
  });

  it("becomes true when a provider is registered late, for components that are there already", () => {
    const telemetry = createTelemetry({}, { name: "producer" });
    assert.equal(telemetry.traces, false);
    trace.setGlobalTracerProvider(new BasicTracerProvider());
    assert.equal(telemetry.traces, true);
    assert.equal(telemetry.tracer.startSpan("one").isRecording(), true);
    telemetry.close();
  });

  it("is false with the API's own provider, which bootstrap() answers where nothing is traced", () => {
    const tracerProvider = trace.getTracerProvider();
    const telemetry = createTelemetry({ tracerProvider }, { name: "producer" });
    assert.equal(telemetry.traces, false);
    telemetry.close();
  });
});
