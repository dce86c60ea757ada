/**
 * Reports cells through the public metrics API, to any MeterProvider of any SDK: every catalogue entry is a real instrument.
 * Counters and gauges are observed when the SDK collects; histograms have no observable form, so every sample is recorded.
 * One bridge for each provider, because two observations of one series would not add up. Called by `provider-link.ts`.
 */
import type {
  Attributes,
  BatchObservableCallback,
  BatchObservableResult,
  Histogram,
  Meter,
  MeterProvider,
  Observable,
} from "@opentelemetry/api";
import { version } from "../core/version.ts";
import { catalogue, type InstrumentDescriptor } from "./catalogue.ts";
import { type Family, isHistogram, type MetricRegistry, type Series } from "./cells.ts";
import { type MetricAttachment, MetricHub } from "./hub.ts";
import { bothFamilies, type InstrumentFamily } from "./instrument.ts";
import { createMetricRegistry, seriesKey, seriesPerFamilyMax } from "./registry.ts";
import { Replay } from "./replay.ts";
import { SCHEMA_URL, SCOPE_NAME } from "./semconv.ts";

/**
 * Where a provider carries its attachment. Our bootstrap sets it on its own provider (then nothing is bridged); on others the first
 * component sets it to a bridge. A registered symbol, so that two copies of this package share one; its number is raised
 * when the shape of `MetricAttachment` or `MetricRegistry` changes, so that a copy never reads what it does not know.
 */
export const ATTACHMENT: unique symbol = Symbol.for("@streamhouse/streamhouse/metrics/1");

/** What reports for this provider, made on first use. */
export function attachmentOf(provider: MeterProvider): MetricAttachment {
  const carrier = provider as MeterProvider & { [ATTACHMENT]?: MetricAttachment };
  const known = carrier[ATTACHMENT];
  if (known !== undefined) return known;
  const bridge = createMeterBridge(provider);
  carryAttachment(provider, bridge);
  return bridge;
}

/**
 * Reports through the provider's meters, whatever the components count at most these families. One for each provider: see
 * `attachmentOf`.
 */
export function createMeterBridge(
  provider: MeterProvider,
  families: readonly InstrumentFamily[] = bothFamilies,
): MetricAttachment {
  return new MeterBridge(provider, families);
}

/** Puts an attachment on a provider. A frozen provider cannot carry one: each component then has its own bridge. */
export function carryAttachment(provider: MeterProvider, attachment: MetricAttachment): void {
  Reflect.defineProperty(provider, ATTACHMENT, { value: attachment, enumerable: false });
}

/**
 * Series of a family that the bridge observes, with one for the rest. The JavaScript SDK has room for one less than its limit of 2,000,
 * and what is observed beyond it, it adds to its overflow series again with every collection, whether it grew or not
 * (`DeltaMetricProcessor.batchCumulate` of sdk-metrics 2.x).
 */
const bridgedSeriesMax = seriesPerFamilyMax - 2;

class MeterBridge implements MetricAttachment {
  readonly families: readonly InstrumentFamily[];
  readonly #hub: MetricHub;
  readonly #meter: Meter;
  /** Families whose instruments are made. */
  readonly #made = new Set<InstrumentFamily>();
  readonly #observables = new Map<string, Observable>();
  readonly #histograms = new Map<string, Histogram>();
  /** What components counted before there was a bridge. */
  readonly #replay = new Replay();
  /** What the bridge itself could not do. */
  readonly #health: MetricRegistry;
  /** Lag and up-down series of the last collection, by family: what is missing in the next is observed as 0 once. */
  readonly #last = new Map<string, ReadonlyMap<string, Series>>();
  #observer: BatchObservableCallback | undefined;
  #observed: Observable[] = [];

  constructor(provider: MeterProvider, families: readonly InstrumentFamily[]) {
    this.families = families;
    this.#hub = new MetricHub({ families, seriesMax: bridgedSeriesMax });
    this.#meter = provider.getMeter(SCOPE_NAME, version, { schemaUrl: SCHEMA_URL });
    this.#health = createMetricRegistry({ families });
    this.#hub.attach(this.#health);
  }

  attach(registry: MetricRegistry): () => void {
    this.#makeInstruments(registry.families);
    const lost = registry.counter(catalogue.samplesLost);
    const endWatch = registry.onSeries((descriptor, series) => {
      const histogram = this.#histograms.get(descriptor.name);
      if (!isHistogram(series.cell)) return;
      const attributes = series.attributes as Attributes;
      const record = (sample: number) => {
        try {
          if (histogram === undefined) lost.add(1);
          else histogram.record(sample, attributes);
        } catch {
          lost.add(1);
        }
      };
      if (!this.#replay.add(series.cell, record)) lost.add(series.cell.count);
      series.cell.forward = record;
    });
    this.#replay.run();
    const detach = this.#hub.attach(registry);
    return () => {
      endWatch();
      detach();
    };
  }

  /** With the first component that counts a family. One that nobody counts makes no instruments. */
  #makeInstruments(families: readonly InstrumentFamily[]): void {
    const missing = families.filter((it) => this.families.includes(it) && !this.#made.has(it));
    if (missing.length === 0) return;
    for (const descriptor of Object.values(catalogue)) {
      if (missing.includes(descriptor.family)) this.#try(() => this.#create(descriptor));
    }
    for (const family of missing) this.#made.add(family);
    this.#try(() => this.#observeAll());
  }

  /** An SDK that fails here costs one instrument and is counted; the application must not notice. */
  #try(work: () => void): void {
    try {
      work();
    } catch {
      this.#health.counter(catalogue.collectErrors).add(1);
    }
  }

  #create(descriptor: InstrumentDescriptor): void {
    const { name, unit, description } = descriptor;
    const options = { unit, description };
    const meter = this.#meter;
    switch (descriptor.kind) {
      case "counter":
        this.#observables.set(name, meter.createObservableCounter(name, options));
        break;
      case "upDownCounter":
        this.#observables.set(name, meter.createObservableUpDownCounter(name, options));
        break;
      case "gauge":
        this.#observables.set(name, meter.createObservableGauge(name, options));
        break;
      case "histogram": {
        const advice = { explicitBucketBoundaries: [...(descriptor.buckets ?? [])] };
        this.#histograms.set(name, meter.createHistogram(name, { ...options, advice }));
      }
    }
  }

  /** One callback for all instruments: each collection then reads the components once. */
  #observeAll(): void {
    const before = this.#observer;
    const observables = [...this.#observables.values()];
    this.#observer = (result) => this.#observe(result);
    this.#meter.addBatchObservableCallback(this.#observer, observables);
    // The callback is known to the SDK by itself and by its instruments: those that it had.
    if (before !== undefined) {
      this.#meter.removeBatchObservableCallback(before, this.#observed);
    }
    this.#observed = observables;
  }

  #observe(result: BatchObservableResult): void {
    const zeroed = new Set<string>();
    for (const family of this.#hub.collect()) {
      const { descriptor, series } = family;
      const observable = this.#observables.get(descriptor.name);
      if (observable === undefined) continue;
      for (const { attributes, cell } of series.values()) {
        if (isHistogram(cell)) continue;
        result.observe(observable, cell.value, attributes as Attributes);
      }
      // What a closed component still had open or waiting is no longer there either.
      if (descriptor.zeroWhenReleased || descriptor.kind === "upDownCounter") {
        this.#zeroReleased(result, observable, family);
        zeroed.add(descriptor.name);
      }
    }
    // Families without any series left do not come up above.
    for (const [name, before] of this.#last) {
      const observable = this.#observables.get(name);
      if (zeroed.has(name) || observable === undefined) continue;
      for (const { attributes } of before.values()) {
        result.observe(observable, 0, attributes as Attributes);
      }
      this.#last.delete(name);
    }
  }

  #zeroReleased(result: BatchObservableResult, observable: Observable, family: Family): void {
    const { descriptor, series } = family;
    for (const { attributes } of this.#last.get(descriptor.name)?.values() ?? []) {
      const gone = !series.has(seriesKey(descriptor, attributes));
      if (gone) result.observe(observable, 0, attributes as Attributes);
    }
    this.#last.set(descriptor.name, new Map(series));
  }
}
