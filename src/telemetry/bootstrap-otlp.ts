/** Settings in the form that the OTLP/HTTP exporters take. Called by the bootstrap's two halves. */
import type { OtlpSettings } from "./bootstrap-environment.ts";

/** Structural: the exporters' own configuration type is not on the surface of their packages. */
export interface OtlpConfig {
  readonly url?: string;
  readonly headers?: Record<string, string>;
  readonly timeoutMillis?: number;
}

export function otlpConfig(settings: OtlpSettings): OtlpConfig {
  return {
    ...(settings.url !== undefined && { url: settings.url }),
    headers: { ...settings.headers },
    ...(settings.timeoutMillis !== undefined && { timeoutMillis: settings.timeoutMillis }),
    ...(settings.compression !== undefined && { compression: settings.compression }),
  };
}
