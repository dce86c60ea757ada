/**
 * A workload as what its cells were told: recorded from components that do real work, and done again on other registries, so that
 * two routes can be compared on exactly the same measurements.
 */
import { createNoopMeter, type MeterProvider } from "@opentelemetry/api";
import { catalogue, type InstrumentDescriptor } from "../../src/telemetry/catalogue.ts";
import type { AttributeValues, Cell, MetricRegistry } from "../../src/telemetry/cells.ts";
import { isGauge, isHistogram } from "../../src/telemetry/cells.ts";
import type { MetricAttachment } from "../../src/telemetry/hub.ts";
import { ATTACHMENT } from "../../src/telemetry/meter-bridge.ts";
import { createMetricRegistry } from "../../src/telemetry/registry.ts";

interface SeriesOperation {
  readonly on: "series" | "release";
  readonly registry: number;
  readonly descriptor: InstrumentDescriptor;
  readonly attributes: AttributeValues;
}

type Operation =
  | SeriesOperation
  | { readonly on: "attach" | "detach"; readonly registry: number }
  | { readonly on: "number"; readonly cell: number; readonly value: number }
  | { readonly on: "look"; readonly name: string };

/** Records what every component does that is given its `meterProvider`. */
export class Recorder {
  readonly #operations: Operation[] = [];
  readonly #cells: Cell[] = [];
  readonly #attached = new Map<number, MetricRegistry>();
  #registries = 0;

  readonly meterProvider: MeterProvider = Object.defineProperty(
    { getMeter: () => createNoopMeter() },
    ATTACHMENT,
    { value: { attach: (it) => this.#attach(it) } satisfies MetricAttachment },
  );

  get operations(): readonly Operation[] {
    return this.#operations;
  }

  /** A moment at which the routes are to be compared. */
  look(name: string): void {
    // Some gauges are set when somebody collects.
    for (const registry of this.#attached.values()) registry.collect();
    this.#operations.push({ on: "look", name });
  }

  /** The instruments that were counted with. */
  touched(): ReadonlySet<InstrumentDescriptor> {
    const touched = new Set<InstrumentDescriptor>();
    for (const it of this.#operations) if (it.on === "series") touched.add(it.descriptor);
    return touched;
  }

  #attach(registry: MetricRegistry): () => void {
    const id = this.#registries++;
    this.#operations.push({ on: "attach", registry: id });
    this.#attached.set(id, registry);
    registry.onSeries((descriptor, { attributes, cell }) => {
      const number = this.#cells.push(cell) - 1;
      this.#operations.push({ on: "series", registry: id, descriptor, attributes });
      this.#listen(cell, number);
    });
    const { release } = registry;
    registry.release = (descriptor, attributes) => {
      this.#operations.push({ on: "release", registry: id, descriptor, attributes });
      release.call(registry, descriptor, attributes);
    };
    return () => {
      if (this.#attached.delete(id)) this.#operations.push({ on: "detach", registry: id });
    };
  }

  #listen(cell: Cell, number: number): void {
    const note = (value: number) => this.#operations.push({ on: "number", cell: number, value });
    if (isHistogram(cell)) {
      cell.forward = note;
      return;
    }
    // Whatever way the number is changed, what it becomes is what counts.
    let current = cell.value;
    Object.defineProperty(cell, "value", {
      get: () => current,
      set(value: number) {
        current = value;
        note(value);
      },
    });
  }
}

/** Does it again for each attachment, on registries of its own; calls `look` where the recorder was told to. */
export async function replay(
  operations: readonly Operation[],
  attachments: readonly MetricAttachment[],
  look: (name: string) => Promise<void>,
): Promise<void> {
  const replays = attachments.map((it) => new Replay(it));
  for (const operation of operations) {
    if (operation.on === "look") await look(operation.name);
    else for (const one of replays) one.do(operation);
  }
}

class Replay {
  readonly #attachment: MetricAttachment;
  readonly #registries: { readonly registry: MetricRegistry; readonly detach: () => void }[] = [];
  readonly #cells: Cell[] = [];

  constructor(attachment: MetricAttachment) {
    this.#attachment = attachment;
  }

  do(operation: Exclude<Operation, { on: "look" }>): void {
    if (operation.on === "attach") {
      const registry = createMetricRegistry({ partitionLabels: true });
      this.#registries.push({ registry, detach: this.#attachment.attach(registry) });
    } else if (operation.on === "number") {
      const cell = this.#cells[operation.cell];
      if (cell !== undefined) tell(cell, operation.value);
    } else {
      const { registry, detach } = this.#registries[operation.registry] ?? {};
      if (registry === undefined) return;
      if (operation.on === "series") this.#cells.push(resolve(registry, operation));
      else if (operation.on === "release") {
        registry.release(operation.descriptor, operation.attributes);
      } else detach?.();
    }
  }
}

function tell(cell: Cell, value: number): void {
  if (isHistogram(cell)) cell.record(value);
  else if (isGauge(cell)) cell.set(value);
  else cell.value = value;
}

function resolve(
  registry: MetricRegistry,
  it: Pick<SeriesOperation, "descriptor" | "attributes">,
): Cell {
  switch (it.descriptor.kind) {
    case "counter":
      return registry.counter(it.descriptor, it.attributes);
    case "upDownCounter":
      return registry.upDown(it.descriptor, it.attributes);
    case "gauge":
      return registry.gauge(it.descriptor, it.attributes);
    case "histogram":
      return registry.histogram(it.descriptor, it.attributes);
  }
}

/** Counts with every instrument that the work had no reason to use. */
export function useTheRest(recorder: Recorder, registry: MetricRegistry): void {
  const touched = recorder.touched();
  for (const [i, descriptor] of Object.values(catalogue).entries()) {
    if (touched.has(descriptor)) continue;
    for (const value of descriptor.attributes.length === 0 ? ["-"] : ["a", "b"]) {
      const attributes = Object.fromEntries(descriptor.attributes.map((key) => [key, value]));
      const cell = resolve(registry, { descriptor, attributes });
      for (const sample of [0, 0.001, i]) tell(cell, sample);
    }
  }
}
