import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createNoopMeter, type MeterProvider } from "@opentelemetry/api";
import { bootstrap } from "../../../src/telemetry/bootstrap.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import type { InstrumentFamily } from "../../../src/telemetry/instrument.ts";
import { createTelemetry } from "../../../src/telemetry/telemetry.ts";
import { readFamilies } from "./read-families.ts";

const both: readonly InstrumentFamily[] = ["streamhouse", "semconv"];

/** A provider that notes which instruments are made. */
function notingProvider(): { readonly provider: MeterProvider; readonly made: string[] } {
  const made: string[] = [];
  const meter = new Proxy(createNoopMeter(), {
    get: (target, key) => {
      const method = Reflect.get(target, key) as (...args: unknown[]) => unknown;
      if (!String(key).startsWith("create")) return method.bind(target);
      return (name: string) => {
        made.push(name);
        return method.call(target, name);
      };
    },
  });
  return { provider: { getMeter: () => meter }, made };
}

function count(families: readonly InstrumentFamily[] | undefined, meterProvider?: MeterProvider) {
  const telemetry = createTelemetry({ families, meterProvider }, { name: "test" });
  telemetry.metrics.counter(catalogue.recordsSent, { topic: "t" }).add(1);
  telemetry.metrics.counter(catalogue.sentMessages).add(1);
  telemetry.metrics.histogram(catalogue.operationDuration).record(1);
  return telemetry;
}

describe("families", () => {
  it("that are left out have no series, whatever is counted in them", () => {
    const ours = { "streamhouse.records.sent{topic=t}": 1 };
    const theirs = {
      "messaging.client.sent.messages{}": 1,
      "messaging.client.operation.duration{}": [1, 1],
    };
    const read = (families?: readonly InstrumentFamily[]) =>
      readFamilies(count(families).metrics.collect());
    assert.deepEqual(read(), { ...ours, ...theirs });
    assert.deepEqual(read(both), { ...ours, ...theirs });
    assert.deepEqual(read(["streamhouse"]), ours);
    assert.deepEqual(read(["semconv"]), theirs);
    assert.deepEqual(read([]), {});
  });

  it("that no component counts make no instruments on the bridge; the first that does makes them, once", () => {
    const { provider, made } = notingProvider();
    count(["streamhouse"], provider);
    assert.ok(made.length > 50);
    assert.ok(made.every((name) => name.startsWith("streamhouse.")));
    count(undefined, provider);
    count(undefined, provider);
    const all = Object.values(catalogue).map(({ name }) => name);
    assert.deepEqual([...made].sort(), all.sort());
  });

  for (const instruments of ["producer", "meter"] as const) {
    it(`are chosen for a whole process by the bootstrap, by ${instruments}`, async () => {
      for (const family of both) {
        const sdk = bootstrap({ env: {}, register: false, instruments, families: [family] });
        const telemetry = count(undefined, sdk.meterProvider);
        assert.deepEqual(telemetry.families, [family]);
        // One that says otherwise itself is still not shown here.
        const stubborn = count(both, sdk.meterProvider);
        const { body } = await sdk.metrics.collect();
        assert.equal(/^streamhouse_/m.test(body), family === "streamhouse");
        assert.equal(/^messaging_/m.test(body), family === "semconv");
        for (const one of [telemetry, stubborn]) one.close();
        await sdk.shutdown();
      }
    });
  }
});
