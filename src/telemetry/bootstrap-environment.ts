/**
 * The standard `OTEL_*` variables, read into settings
 * (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). An empty value is an unset one; what
 * cannot be understood is warned about and ignored, never thrown. Pure; called by `bootstrap.ts`.
 */

export type Environment = Readonly<Record<string, string | undefined>>;

export type OtlpProtocol = "http/protobuf" | "http/json";

/** How to reach an OTLP receiver. Undefined where the exporter's own default applies. */
export interface OtlpSettings {
  readonly url: string | undefined;
  readonly protocol: OtlpProtocol;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMillis: number | undefined;
  readonly compression: "gzip" | "none" | undefined;
}

export type SamplerName = "always_on" | "always_off" | "traceidratio";

export interface EnvironmentSettings {
  readonly disabled: boolean;
  /** Deno's own OpenTelemetry is on. */
  readonly deno: boolean;
  readonly resource: Readonly<Record<string, string>>;
  readonly sampler: {
    readonly name: SamplerName;
    readonly parentBased: boolean;
    readonly ratio: number;
  };
  /** Undefined: no trace exporter. */
  readonly traces: { readonly otlp: OtlpSettings | undefined; readonly console: boolean };
  readonly metrics: {
    readonly prometheus: boolean;
    readonly otlp: OtlpSettings | undefined;
    readonly intervalMillis: number | undefined;
    readonly timeoutMillis: number | undefined;
  };
  readonly batch: {
    readonly scheduledDelayMillis: number | undefined;
    readonly exportTimeoutMillis: number | undefined;
    readonly maxQueueSize: number | undefined;
    readonly maxExportBatchSize: number | undefined;
  };
  /** What an operator should be told. */
  readonly warnings: readonly string[];
}

export function readEnvironment(env: Environment): EnvironmentSettings {
  const reader = new Reader(env);
  const settings = {
    disabled: reader.flag("OTEL_SDK_DISABLED"),
    deno: reader.flag("OTEL_DENO") || reader.text("OTEL_DENO") === "1",
    resource: reader.resource(),
    sampler: reader.sampler(),
    traces: reader.traces(),
    metrics: reader.metrics(),
    batch: {
      scheduledDelayMillis: reader.number("OTEL_BSP_SCHEDULE_DELAY"),
      exportTimeoutMillis: reader.number("OTEL_BSP_EXPORT_TIMEOUT"),
      maxQueueSize: reader.number("OTEL_BSP_MAX_QUEUE_SIZE"),
      maxExportBatchSize: reader.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
    },
  };
  reader.checkJaeger();
  return { ...settings, warnings: reader.warnings };
}

class Reader {
  readonly warnings: string[] = [];
  readonly #env: Environment;

  constructor(env: Environment) {
    this.#env = env;
  }

  text(name: string): string | undefined {
    const value = this.#env[name]?.trim();
    return value === "" ? undefined : value;
  }

  flag(name: string): boolean {
    return this.text(name)?.toLowerCase() === "true";
  }

  /** A positive number; the specification asks that others be warned about and ignored. */
  number(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (Number.isFinite(value) && value > 0) return value;
    this.warnings.push(`${name}=${text} is ignored: expected a number above 0`);
    return undefined;
  }

  resource(): Record<string, string> {
    const attributes = this.#pairs("OTEL_RESOURCE_ATTRIBUTES");
    const serviceName = this.text("OTEL_SERVICE_NAME");
    return serviceName === undefined ? attributes : { ...attributes, "service.name": serviceName };
  }

  sampler(): EnvironmentSettings["sampler"] {
    const text = this.text("OTEL_TRACES_SAMPLER") ?? "parentbased_always_on";
    const match = /^(parentbased_)?(always_on|always_off|traceidratio)$/.exec(text);
    if (match === null) {
      this.warnings.push(
        `OTEL_TRACES_SAMPLER=${text} is ignored: expected always_on, always_off or traceidratio, with or ` +
          "without parentbased_ before it; parentbased_always_on is used",
      );
      return { name: "always_on", parentBased: true, ratio: 1 };
    }
    const name = match[2] as SamplerName;
    return { name, parentBased: match[1] !== undefined, ratio: this.#ratio(name) };
  }

  traces(): EnvironmentSettings["traces"] {
    const endpoint =
      this.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") ?? this.text("OTEL_EXPORTER_OTLP_ENDPOINT");
    // The specification's default is otlp. Without an endpoint that would be attempts at localhost for ever.
    const asked = this.#list("OTEL_TRACES_EXPORTER", endpoint === undefined ? "none" : "otlp");
    for (const name of asked) {
      if (!["otlp", "console", "none"].includes(name)) {
        this.warnings.push(
          `OTEL_TRACES_EXPORTER=${name} is ignored: expected otlp, console or none`,
        );
      }
    }
    return {
      otlp: asked.includes("otlp") ? this.#otlp("TRACES", "v1/traces") : undefined,
      console: asked.includes("console"),
    };
  }

  metrics(): EnvironmentSettings["metrics"] {
    const asked = this.#list("OTEL_METRICS_EXPORTER", "prometheus");
    for (const name of asked) {
      if (!["otlp", "prometheus", "none"].includes(name)) {
        this.warnings.push(
          `OTEL_METRICS_EXPORTER=${name} is ignored: expected prometheus, otlp or none`,
        );
      }
    }
    return {
      // `/metrics` stays when metrics are pushed as well: it costs nothing until it is asked.
      prometheus: !asked.includes("none"),
      otlp: asked.includes("otlp") ? this.#otlp("METRICS", "v1/metrics") : undefined,
      intervalMillis: this.number("OTEL_METRIC_EXPORT_INTERVAL"),
      timeoutMillis: this.number("OTEL_METRIC_EXPORT_TIMEOUT"),
    };
  }

  checkJaeger(): void {
    if (this.text("OTEL_EXPORTER_JAEGER_ENDPOINT") === undefined) return;
    this.warnings.push(
      "OTEL_EXPORTER_JAEGER_ENDPOINT is no longer part of OpenTelemetry and is ignored: Jaeger takes OTLP, set " +
        "OTEL_EXPORTER_OTLP_ENDPOINT (for instance http://jaeger:4318)",
    );
  }

  #ratio(name: SamplerName): number {
    const text = this.text("OTEL_TRACES_SAMPLER_ARG");
    if (name !== "traceidratio" || text === undefined) return 1;
    const ratio = Number(text);
    if (ratio >= 0 && ratio <= 1) return ratio;
    this.warnings.push(`OTEL_TRACES_SAMPLER_ARG=${text} is ignored: expected 0 to 1; 1 is used`);
    return 1;
  }

  #otlp(signal: "TRACES" | "METRICS", path: string): OtlpSettings {
    const of = (what: string) =>
      this.text(`OTEL_EXPORTER_OTLP_${signal}_${what}`) ?? this.text(`OTEL_EXPORTER_OTLP_${what}`);
    return {
      url: this.#url(signal, path),
      protocol: this.#protocol(of("PROTOCOL")),
      headers: {
        ...this.#pairs("OTEL_EXPORTER_OTLP_HEADERS"),
        ...this.#pairs(`OTEL_EXPORTER_OTLP_${signal}_HEADERS`),
      },
      timeoutMillis:
        this.number(`OTEL_EXPORTER_OTLP_${signal}_TIMEOUT`) ??
        this.number("OTEL_EXPORTER_OTLP_TIMEOUT"),
      compression: this.#compression(of("COMPRESSION")),
    };
  }

  /** The signal's own endpoint is used as it is; the common one gets the signal's path. */
  #url(signal: string, path: string): string | undefined {
    const own = `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`;
    const name = this.text(own) === undefined ? "OTEL_EXPORTER_OTLP_ENDPOINT" : own;
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) {
      this.warnings.push(`${name}=${text} is ignored: expected a URL as http://collector:4318`);
      return undefined;
    }
    return name === own ? new URL(text).href : `${text.replace(/\/+$/, "")}/${path}`;
  }

  #protocol(text: string | undefined): OtlpProtocol {
    if (text === undefined || text === "http/protobuf") return "http/protobuf";
    if (text === "http/json") return "http/json";
    this.warnings.push(
      `OTEL_EXPORTER_OTLP_PROTOCOL=${text} is not supported: http/protobuf is used; http/json is the other choice`,
    );
    return "http/protobuf";
  }

  #compression(text: string | undefined): "gzip" | "none" | undefined {
    if (text === undefined || text === "gzip" || text === "none") return text;
    this.warnings.push(`OTEL_EXPORTER_OTLP_COMPRESSION=${text} is ignored: expected gzip or none`);
    return undefined;
  }

  #list(name: string, otherwise: string): string[] {
    const names = (this.text(name) ?? otherwise).split(",").map((part) => part.trim());
    return names.filter((part) => part !== "");
  }

  /** `key1=value1,key2=value2`, values percent-encoded as in W3C Baggage. */
  #pairs(name: string): Record<string, string> {
    const pairs: Record<string, string> = {};
    for (const part of this.#list(name, "")) {
      const at = part.indexOf("=");
      try {
        if (at < 1) throw new Error("no key");
        pairs[part.slice(0, at).trim()] = decodeURIComponent(part.slice(at + 1).trim());
      } catch {
        // The value may be a secret: it is not repeated.
        this.warnings.push(`a part of ${name} is ignored: expected key=value, percent-encoded`);
      }
    }
    return pairs;
  }
}
