/**
 * A MeterProvider that is several: what is recorded through it reaches every one of them. By the public metrics API only, so that
 * SDKs of different releases can stand side by side. For tests that compare them on one and the same run.
 */
import type {
  BatchObservableCallback,
  Meter,
  MeterProvider,
  Observable,
  ObservableCallback,
} from "@opentelemetry/api";

export function teeMeterProvider(providers: readonly MeterProvider[]): MeterProvider {
  return {
    getMeter: (...args) => new TeeMeter(providers.map((provider) => provider.getMeter(...args))),
  };
}

class TeeMeter implements Meter {
  readonly #meters: readonly Meter[];
  /** What stands for one instrument at each provider. */
  readonly #parts = new WeakMap<Observable, readonly Observable[]>();
  readonly #callbacks = new WeakMap<
    BatchObservableCallback,
    readonly (readonly [BatchObservableCallback, Observable[]])[]
  >();

  constructor(meters: readonly Meter[]) {
    this.#meters = meters;
  }

  createCounter(...args: Parameters<Meter["createCounter"]>): ReturnType<Meter["createCounter"]> {
    const parts = this.#meters.map((meter) => meter.createCounter(...args));
    return { add: (...of) => parts.forEach((part) => void part.add(...of)) };
  }

  createUpDownCounter(
    ...args: Parameters<Meter["createUpDownCounter"]>
  ): ReturnType<Meter["createUpDownCounter"]> {
    const parts = this.#meters.map((meter) => meter.createUpDownCounter(...args));
    return { add: (...of) => parts.forEach((part) => void part.add(...of)) };
  }

  createGauge(...args: Parameters<Meter["createGauge"]>): ReturnType<Meter["createGauge"]> {
    const parts = this.#meters.map((meter) => meter.createGauge(...args));
    return { record: (...of) => parts.forEach((part) => void part.record(...of)) };
  }

  createHistogram(
    ...args: Parameters<Meter["createHistogram"]>
  ): ReturnType<Meter["createHistogram"]> {
    const parts = this.#meters.map((meter) => meter.createHistogram(...args));
    return { record: (...of) => parts.forEach((part) => void part.record(...of)) };
  }

  createObservableGauge(...args: Parameters<Meter["createObservableGauge"]>): Observable {
    return this.#observable(this.#meters.map((meter) => meter.createObservableGauge(...args)));
  }

  createObservableCounter(...args: Parameters<Meter["createObservableCounter"]>): Observable {
    return this.#observable(this.#meters.map((meter) => meter.createObservableCounter(...args)));
  }

  createObservableUpDownCounter(
    ...args: Parameters<Meter["createObservableUpDownCounter"]>
  ): Observable {
    const parts = this.#meters.map((meter) => meter.createObservableUpDownCounter(...args));
    return this.#observable(parts);
  }

  addBatchObservableCallback(callback: BatchObservableCallback, observables: Observable[]): void {
    const own = this.#meters.map((meter, i) => {
      const parts = observables.flatMap((it) => this.#parts.get(it)?.[i] ?? []);
      const each: BatchObservableCallback = (result) =>
        callback({
          observe: (observable, value, attributes) => {
            const part = this.#parts.get(observable)?.[i];
            if (part !== undefined) result.observe(part, value, attributes);
          },
        });
      meter.addBatchObservableCallback(each, parts);
      return [each, parts] as const;
    });
    this.#callbacks.set(callback, own);
  }

  removeBatchObservableCallback(callback: BatchObservableCallback): void {
    this.#callbacks.get(callback)?.forEach(([each, parts], i) => {
      this.#meters[i]?.removeBatchObservableCallback(each, parts);
    });
  }

  #observable(parts: readonly Observable[]): Observable {
    const tee: Observable = {
      addCallback: (callback: ObservableCallback) => {
        for (const part of parts) part.addCallback(callback);
      },
      removeCallback: (callback: ObservableCallback) => {
        for (const part of parts) part.removeCallback(callback);
      },
    };
    this.#parts.set(tee, parts);
    return tee;
  }
}
