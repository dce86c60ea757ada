/**
 * Finds the MeterProvider that reports a component's cells, at construction or later (METRICS rule 3), and attaches the
 * registry to what reports for that provider: its own collection if our bootstrap made it, else the bridge. Called by
 * `createTelemetry` only. Never keeps a process alive, never throws.
 */
import { createNoopMeter, type MeterProvider, metrics } from "@opentelemetry/api";
import { type Clock, systemClock, type Timer } from "../core/clock.ts";
import type { MetricRegistry } from "./cells.ts";
import type { MetricAttachment } from "./hub.ts";
import type { InstrumentFamily } from "./instrument.ts";
import { ATTACHMENT, attachmentOf } from "./meter-bridge.ts";
import type { MetricsSource } from "./metrics-source.ts";
import { SCOPE_NAME } from "./semconv.ts";

export interface ProviderLink {
  /** Looks for a global provider, if there is none yet and the last look was a second ago. Costs nothing once found. */
  look(): void;
  /** Detaches and ends the looking. */
  close(): void;
}

type Branded = MeterProvider & { readonly [ATTACHMENT]?: MetricAttachment };

/**
 * The text of `/metrics` of a provider that our bootstrap made; undefined for any other. Default: of the global one.
 */
export function metricsSourceOf(
  provider: MeterProvider = metrics.getMeterProvider(),
): MetricsSource | undefined {
  return (provider as Branded)[ATTACHMENT]?.source;
}

/** The families that the provider reports, if it is one that we know already; undefined for any other. */
export function familiesOf(
  provider: MeterProvider | undefined,
): readonly InstrumentFamily[] | undefined {
  try {
    const carrier = (provider ?? metrics.getMeterProvider()) as Branded;
    return carrier[ATTACHMENT]?.families;
  } catch {
    return undefined;
  }
}

const lookEveryMs = 1_000;

/**
 * Looks by timer (unreferenced) in the first minute, when SDKs are set up late if ever; after it only when the
 * component does something, so that an application without an SDK has no timer of ours.
 */
const looksByTimerMax = 60;

export function linkToProvider(
  registry: MetricRegistry,
  provider: MeterProvider | undefined,
  clock: Clock = systemClock,
): ProviderLink {
  return new Link(registry, provider, clock);
}

class Link implements ProviderLink {
  readonly #registry: MetricRegistry;
  readonly #clock: Clock;
  #detach: (() => void) | undefined;
  #waiting = true;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #looksByTimer = 0;
  #timer: Timer | undefined;

  constructor(registry: MetricRegistry, provider: MeterProvider | undefined, clock: Clock) {
    this.#registry = registry;
    this.#clock = clock;
    if (provider !== undefined) this.#attach(provider);
    else this.#find();
    if (this.#waiting) this.#lookLater();
  }

  look(): void {
    if (!this.#waiting) return;
    if (this.#clock.monotonic() - this.#lookedAt >= lookEveryMs) this.#find();
  }

  close(): void {
    if (this.#waiting) this.#find();
    this.#waiting = false;
    this.#timer?.cancel();
    this.#detach?.();
    this.#detach = undefined;
  }

  #find(): void {
    this.#lookedAt = this.#clock.monotonic();
    const provider = metrics.getMeterProvider();
    if (isRegistered(provider)) this.#attach(provider);
  }

  #attach(provider: MeterProvider): void {
    this.#waiting = false;
    this.#timer?.cancel();
    try {
      this.#detach = attachmentOf(provider).attach(this.#registry);
    } catch {
      // A provider that throws is the application's to mend: the component works unmeasured.
    }
  }

  #lookLater(): void {
    if (this.#looksByTimer >= looksByTimerMax) return;
    this.#looksByTimer += 1;
    this.#timer = this.#clock.schedule(
      lookEveryMs,
      () => {
        this.#find();
        if (this.#waiting) this.#lookLater();
      },
      { background: true },
    );
  }
}

/** The API answers a provider of no-op meters until an SDK is registered. */
export function isRegistered(provider: MeterProvider): boolean {
  try {
    return provider.getMeter(SCOPE_NAME) !== createNoopMeter();
  } catch {
    return false;
  }
}
