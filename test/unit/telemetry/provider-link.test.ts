import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import {
  type MeterProvider as ApiMeterProvider,
  createNoopMeter,
  metrics,
} from "@opentelemetry/api";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { linkToProvider } from "../../../src/telemetry/provider-link.ts";
import { createMetricRegistry } from "../../../src/telemetry/registry.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { MemoryReader } from "./memory-reader.ts";

function registered(): MemoryReader {
  const reader = new MemoryReader();
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
  return reader;
}

async function bytesSent(reader: MemoryReader): Promise<unknown> {
  return (await reader.read())[catalogue.bytesSent.name]?.points["topic=t"];
}

function countedRegistry(n: number) {
  const registry = createMetricRegistry();
  registry.counter(catalogue.bytesSent, { topic: "t" }).add(n);
  return registry;
}

describe("finding a meter provider", () => {
  afterEach(() => metrics.disable());

  it("takes the one that is given, whatever is registered", async () => {
    const global = registered();
    const reader = new MemoryReader();
    const provider = new MeterProvider({ readers: [reader] });
    linkToProvider(countedRegistry(4), provider, new ManualClock());
    assert.equal(await bytesSent(reader), 4);
    assert.equal(await bytesSent(global), undefined);
  });

  it("takes the registered one at once", async () => {
    const reader = registered();
    const clock = new ManualClock();
    linkToProvider(countedRegistry(4), undefined, clock);
    assert.equal(await bytesSent(reader), 4);
    assert.equal(clock.pending, 0);
  });

  it("finds one that is registered late within a second, and reports the totals so far", async () => {
    const clock = new ManualClock();
    const registry = countedRegistry(100);
    linkToProvider(registry, undefined, clock);
    clock.advance(7_500);
    const reader = registered();
    registry.counter(catalogue.bytesSent, { topic: "t" }).add(1);
    clock.advance(1_000);
    assert.equal(await bytesSent(reader), 101);
    assert.equal(clock.pending, 0);
  });

  it("looks no more than once a second, however much is done", () => {
    const clock = new ManualClock();
    const link = linkToProvider(createMetricRegistry(), undefined, clock);
    let looks = 0;
    const noop: ApiMeterProvider = {
      getMeter() {
        looks += 1;
        return createNoopMeter();
      },
    };
    metrics.setGlobalMeterProvider(noop);
    for (let i = 0; i < 100; i++) link.look();
    assert.equal(looks, 0);
    for (let second = 0; second < 5; second++) {
      clock.advance(1_000);
      for (let i = 0; i < 100; i++) link.look();
    }
    assert.equal(looks, 5);
  });

  it("has no timer after a minute, and then finds a provider when the component does something", async () => {
    const clock = new ManualClock();
    const link = linkToProvider(countedRegistry(4), undefined, clock);
    clock.advance(61_000);
    assert.equal(clock.pending, 0);
    const reader = registered();
    link.look();
    assert.equal(await bytesSent(reader), 4);
  });

  it("looks once more when the component closes, and leaves no timer", async () => {
    const clock = new ManualClock();
    const link = linkToProvider(countedRegistry(4), undefined, clock);
    const reader = registered();
    link.close();
    link.close();
    assert.equal(clock.pending, 0);
    assert.equal(await bytesSent(reader), 4);
  });

  it("lets the component work with a provider that throws", () => {
    const provider: ApiMeterProvider = {
      getMeter() {
        throw new Error("broken SDK");
      },
    };
    assert.doesNotThrow(() => linkToProvider(countedRegistry(1), provider, new ManualClock()));
    metrics.setGlobalMeterProvider(provider);
    assert.doesNotThrow(() => linkToProvider(countedRegistry(1), undefined, new ManualClock()));
  });
});
