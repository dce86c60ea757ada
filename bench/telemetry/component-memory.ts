/**
 * How much memory the instruments of one component take at 10 partitions: a producer, a consumer and
 * an agent do real work, then as many registries as are needed for an exact figure are filled with
 * the very same series.
 */
import type { MeterProvider } from "@opentelemetry/api";
import { createNoopMeter } from "@opentelemetry/api";
import type { Family, MetricRegistry } from "../../src/telemetry/cells.ts";
import type { MetricAttachment } from "../../src/telemetry/hub.ts";
import { carryAttachment } from "../../src/telemetry/meter-bridge.ts";
import { createMetricRegistry } from "../../src/telemetry/registry.ts";
import type { Contender } from "../contender.ts";
import { collector } from "../garbage.ts";
import { openRig } from "./rig.ts";

const TOPIC = "orders";
const PARTITIONS = 10;
const COPIES = 100;

const components = ["producer", "consumer", "agent"] as const;
type Component = (typeof components)[number];

/** Attribute values and descriptor of every series that a component has made. */
type Shape = readonly Family[];

export function componentMemoryContenders(): Contender[] {
  return components.map((component) => ({
    name: `telemetry-memory-${component}`,
    unit: "KiB",
    limits: [],
    note: `heap of the instruments of one ${component}, with ${PARTITIONS} partitions and partition labels`,
    async round() {
      const shape = await shapeOf(component);
      const series = shape.reduce((sum, family) => sum + family.series.size, 0);
      return { value: heapOf(shape) / 1_024, also: { series } };
    },
  }));
}

/** What the component's registry holds after work with every partition. */
async function shapeOf(component: Component): Promise<Shape> {
  const registries: MetricRegistry[] = [];
  const meterProvider = catchRegistries(registries);
  const { house, close } = await openRig("grpc", { meterProvider, partitionLabels: true });
  try {
    await house.admin.createTopic(TOPIC, { partitions: PARTITIONS });
    const producer = house.producer();
    const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition);
    await Promise.all(
      partitions.map((partition) => producer.send({ topic: TOPIC, partition, value: "x" })),
    );
    const consumer = house.consumer({ group: "billing", topics: [TOPIC] });
    let read = 0;
    for await (const _ of consumer) if (++read === PARTITIONS) break;
    await consumer.commit();
    await consumer.lag(TOPIC, 0);
    const marks = {
      producer: "records.sent",
      consumer: "records.consumed",
      agent: "lease.renewals",
    };
    const mark = `streamhouse.${marks[component]}`;
    const found = registries
      .map((registry) => [...registry.collect()])
      .find((families) => families.some((family) => family.descriptor.name === mark));
    if (found === undefined) throw new Error(`no ${component} counted ${mark}`);
    return found.map(({ descriptor, series }) => ({ descriptor, series: new Map(series) }));
  } finally {
    await close();
  }
}

/** A provider by which components hand their registries to us. */
function catchRegistries(into: MetricRegistry[]): MeterProvider {
  const provider: MeterProvider = { getMeter: () => createNoopMeter() };
  const attachment: MetricAttachment = {
    attach(registry) {
      into.push(registry);
      return () => {};
    },
  };
  carryAttachment(provider, attachment);
  return provider;
}

/** Heap of one registry with these series; attribute values are copied, as a component has its own. */
function heapOf(shape: Shape): number {
  const collect = collector();
  const used = () => {
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  filled(shape);
  const before = used();
  const copies = Array.from({ length: COPIES }, () => filled(shape));
  const after = used();
  if (copies.length !== COPIES) throw new Error("unreachable");
  return (after - before) / COPIES;
}

function filled(shape: Shape): MetricRegistry {
  const registry = createMetricRegistry({ partitionLabels: true });
  for (const { descriptor, series } of shape) {
    for (const { attributes } of series.values()) {
      const own = { ...attributes };
      if (descriptor.kind === "histogram") registry.histogram(descriptor, own).record(1);
      else if (descriptor.kind === "gauge") registry.gauge(descriptor, own).set(1);
      else if (descriptor.kind === "counter") registry.counter(descriptor, own).add(1);
      else registry.upDown(descriptor, own).add(1);
    }
  }
  return registry;
}
