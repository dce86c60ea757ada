/** Settings in the form that the OTLP/HTTP exporters take. Called by the bootstrap's two halves. */
import type { OtlpSettings } from "./bootstrap-environment.ts";

/** Structural: the exporters' own configuration type is not on the surface of their packages. */
export interface OtlpConfig {
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly timeoutMillis: number;
}

/**
 * What can fail is always named, the defaults of the specification too
 * (https://opentelemetry.io/docs/specs/otel/protocol/exporter/): what is left out, the exporters would look up in the
 * process's environment by themselves, where a value that was just warned about would come back.
 */
export function otlpConfig(settings: OtlpSettings, path: "v1/traces" | "v1/metrics"): OtlpConfig {
  return {
    url: settings.url ?? `http://localhost:4318/${path}`,
    headers: { ...settings.headers },
    timeoutMillis: settings.timeoutMillis ?? 10_000,
    // The exporters' type for it is an enum of a package that is not ours to import; its values are these words.
    ...(settings.compression !== undefined && { compression: settings.compression }),
  };
}
