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

/** What pushed metrics are told: totals since the start, or differences; see the variable's specification. */
export type TemporalityPreference = "cumulative" | "delta" | "lowmemory";

export type PropagatorName = "tracecontext" | "baggage";

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
    readonly temporality: TemporalityPreference;
    /** Whether histogram points carry exemplars. */
    readonly exemplars: boolean;
    readonly intervalMillis: number | undefined;
    readonly timeoutMillis: number | undefined;
  };
  readonly batch: {
    readonly scheduledDelayMillis: number | undefined;
    readonly exportTimeoutMillis: number | undefined;
    readonly maxQueueSize: number | undefined;
    readonly maxExportBatchSize: number | undefined;
  };
  readonly propagators: readonly PropagatorName[];
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
    propagators: reader.propagators(),
    batch: {
      scheduledDelayMillis: reader.number("OTEL_BSP_SCHEDULE_DELAY"),
      exportTimeoutMillis: reader.number("OTEL_BSP_EXPORT_TIMEOUT"),
      maxQueueSize: reader.number("OTEL_BSP_MAX_QUEUE_SIZE"),
      maxExportBatchSize: reader.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
    },
  };
  reader.checkJaeger();
  return { ...settings, warnings: [...reader.warnings] };
}

/** The longest that a timer can wait: beyond it runtimes fire at once, again and again. */
const timerMsMax = 2_147_483_647;

class Reader {
  /** Each once: two signals may read the same variable. */
  readonly warnings = new Set<string>();
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

  /** A positive whole number; the specification asks that others be warned about and ignored. */
  number(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (Number.isInteger(value) && value > 0 && value <= timerMsMax) return value;
    this.warnings.add(`${name}=${text} is ignored: expected a whole number above 0`);
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
      this.warnings.add(
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
        this.warnings.add(
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
        this.warnings.add(
          `OTEL_METRICS_EXPORTER=${name} is ignored: expected prometheus, otlp or none`,
        );
      }
    }
    const aggregation = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
    this.#oneOf(aggregation, ["explicit_bucket_histogram"], "explicit_bucket_histogram");
    const preference = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    const preferences = ["cumulative", "delta", "lowmemory"] as const;
    const filters = ["trace_based", "always_off"] as const;
    const filter = this.#oneOf("OTEL_METRICS_EXEMPLAR_FILTER", filters, "trace_based");
    return {
      // `/metrics` stays when metrics are pushed as well: it costs nothing until it is asked.
      prometheus: !asked.includes("none"),
      otlp: asked.includes("otlp") ? this.#otlp("METRICS", "v1/metrics") : undefined,
      temporality: this.#oneOf(preference, preferences, "cumulative"),
      exemplars: filter === "trace_based",
      intervalMillis: this.number("OTEL_METRIC_EXPORT_INTERVAL"),
      timeoutMillis: this.number("OTEL_METRIC_EXPORT_TIMEOUT"),
    };
  }

  propagators(): readonly PropagatorName[] {
    const name = "OTEL_PROPAGATORS";
    const asked = this.#list(name, "tracecontext,baggage").filter((it) => it !== "none");
    const known = (it: string) => it === "tracecontext" || it === "baggage";
    for (const unknown of asked.filter((it) => !known(it))) {
      this.warnings.add(`${name}=${unknown} is ignored: expected tracecontext, baggage or none`);
    }
    return [...new Set(asked.filter(known))] as PropagatorName[];
  }

  checkJaeger(): void {
    if (this.text("OTEL_EXPORTER_JAEGER_ENDPOINT") === undefined) return;
    this.warnings.add(
      "OTEL_EXPORTER_JAEGER_ENDPOINT is no longer part of OpenTelemetry and is ignored: Jaeger takes OTLP, set " +
        "OTEL_EXPORTER_OTLP_ENDPOINT (for instance http://jaeger:4318)",
    );
  }

  #oneOf<T extends string>(name: string, known: readonly T[], otherwise: T): T {
    const text = this.text(name)?.toLowerCase();
    const found = known.find((it) => it === text);
    if (text !== undefined && found === undefined) {
      const expected = known.join(" or ");
      this.warnings.add(`${name}=${text} is ignored: expected ${expected}; ${otherwise} is used`);
    }
    return found ?? otherwise;
  }

  #ratio(name: SamplerName): number {
    const text = this.text("OTEL_TRACES_SAMPLER_ARG");
    if (name !== "traceidratio" || text === undefined) return 1;
    const ratio = Number(text);
    if (ratio >= 0 && ratio <= 1) return ratio;
    this.warnings.add(`OTEL_TRACES_SAMPLER_ARG=${text} is ignored: expected 0 to 1; 1 is used`);
    return 1;
  }

  #otlp(signal: "TRACES" | "METRICS", path: string): OtlpSettings {
    const of = (what: string) => {
      const own = `OTEL_EXPORTER_OTLP_${signal}_${what}`;
      return this.text(own) === undefined ? `OTEL_EXPORTER_OTLP_${what}` : own;
    };
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
      this.warnings.add(`${name}=${text} is ignored: expected a URL as http://collector:4318`);
      return undefined;
    }
    return name === own ? new URL(text).href : `${text.replace(/\/+$/, "")}/${path}`;
  }

  #protocol(name: string): OtlpProtocol {
    const text = this.text(name);
    if (text === undefined || text === "http/protobuf") return "http/protobuf";
    if (text === "http/json") return "http/json";
    this.warnings.add(
      `${name}=${text} is not supported: http/protobuf is used; http/json is the other choice`,
    );
    return "http/protobuf";
  }

  #compression(name: string): "gzip" | "none" | undefined {
    const text = this.text(name);
    if (text === undefined || text === "gzip" || text === "none") return text;
    this.warnings.add(`${name}=${text} is ignored: expected gzip or none`);
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
        this.warnings.add(`a part of ${name} is ignored: expected key=value, percent-encoded`);
      }
    }
    return pairs;
  }
}
