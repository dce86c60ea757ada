/**
 * Writes a collection in Prometheus's text format or in OpenMetrics, in chunks, with rests for the event loop in between. It
 * holds what is worth remembering from scrape to scrape (label texts) and nothing of a single one; it never throws for what the
 * data is like: what cannot be written is left out and reported. Called by `handler.ts`; part of the door `./prometheus`.
 */
import { diag } from "@opentelemetry/api";
import { type Clock, systemClock } from "../core/clock.ts";
import { ChunkWriter } from "./chunk-writer.ts";
import type { CollectedMetrics } from "./collected.ts";
import { type PrometheusNotice, planFamilies } from "./family.ts";
import type { PrometheusFormat } from "./format.ts";
import { LabelTexts } from "./labels.ts";
import { Pace } from "./pace.ts";
import { rowsOf } from "./rows.ts";
import { SampleWriter } from "./sample-writer.ts";

/** What names and labels look like. */
export interface SerializerOptions {
  /** Put before each metric's name with an underscore. Default none. */
  readonly prefix?: string | undefined;
  /** Ends names with their unit where they do not have it. Default true. */
  readonly units?: boolean | undefined;
  /**
   * Adds `otel_scope_name`, `otel_scope_version` and `otel_scope_schema_url` to each sample. Default false: series of two scopes
   * that have the same name and labels are then added up.
   */
  readonly scopeLabels?: boolean | undefined;
  /** Writes the resource's attributes as the labels of `target_info`. Default true. */
  readonly targetInfo?: boolean | undefined;
  /**
   * Told of what was left out or put together, once for each metric and reason. Default: `diag.warn` of the OpenTelemetry API.
   */
  readonly onNotice?: ((notice: PrometheusNotice) => void) | undefined;
}

/** Writes collections; keeps the label texts of live series. */
export interface PrometheusSerializer {
  /** Chunks of UTF-8, each of some ten kilobytes. The collection must not change meanwhile. */
  serialize(
    metrics: CollectedMetrics,
    format?: PrometheusFormat,
  ): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined>;
}

/** One for each reader, for its life: what it remembers makes later scrapes cheaper. */
export function createPrometheusSerializer(
  options: SerializerOptions = {},
  clock: Clock = systemClock,
): PrometheusSerializer {
  return new Serializer(options, clock);
}

/** One collection, once: `createPrometheusSerializer(options).serialize(metrics, format)`. */
export function serializePrometheus(
  metrics: CollectedMetrics,
  options: SerializerOptions & { readonly format?: PrometheusFormat | undefined } = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  return createPrometheusSerializer(options).serialize(metrics, options.format);
}

/** The whole text of a serialization as one string: for tests, and where there is little of it. */
export async function textOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of chunks) text += decoder.decode(chunk, { stream: true });
  return text + decoder.decode();
}

/** Different notices that are remembered as given. */
const noticesMax = 1_000;

class Serializer implements PrometheusSerializer {
  readonly #options: SerializerOptions;
  readonly #clock: Clock;
  readonly #given = new Set<string>();
  readonly #labels: LabelTexts;
  readonly #histogramLabels: LabelTexts;
  readonly #targetLabels = new LabelTexts(() => false);

  constructor(options: SerializerOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    const ofScope = (name: string) =>
      options.scopeLabels === true && name.startsWith("otel_scope_");
    this.#labels = new LabelTexts(ofScope);
    this.#histogramLabels = new LabelTexts((name) => name === "le" || ofScope(name));
  }

  async *serialize(
    metrics: CollectedMetrics,
    format: PrometheusFormat = "text",
  ): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    const { prefix = "", units = true, scopeLabels = false } = this.#options;
    const notice = (one: PrometheusNotice) => this.#notice(one);
    const families = planFamilies(metrics, format, { prefix, units, scopeLabels }, notice);
    const pace = new Pace(this.#clock);
    const out = new ChunkWriter();
    const writer = new SampleWriter(out, format, this.#labels);
    if (this.#options.targetInfo !== false) this.#targetInfo(metrics, format, out);
    for (const family of families) {
      const labels = family.kind === "histogram" ? this.#histogramLabels : this.#labels;
      const metric = family.parts[0]?.stream.descriptor.name ?? family.base;
      const say = (reason: string) => this.#notice({ metric, reason });
      const rows = await rowsOf(family, labels, say, () => pace.rest());
      writer.header(family);
      for (const row of rows) {
        const reason = writer.row(family, row);
        if (reason !== undefined) say(reason);
        if (!out.full) continue;
        yield* out.take();
        await pace.rest();
      }
    }
    if (format === "openmetrics") out.add("# EOF\n");
    yield* out.end();
  }

  #targetInfo(metrics: CollectedMetrics, format: PrometheusFormat, out: ChunkWriter): void {
    const labels = this.#targetLabels.of(metrics.resource.attributes).text;
    if (labels === "") return;
    const [name, type] = format === "openmetrics" ? ["target", "info"] : ["target_info", "gauge"];
    out.add(`# HELP ${name} Target metadata\n# TYPE ${name} ${type}\ntarget_info{${labels}} 1\n`);
  }

  #notice(notice: PrometheusNotice): void {
    const key = `${notice.metric}\n${notice.reason}`;
    if (this.#given.has(key) || this.#given.size >= noticesMax) return;
    this.#given.add(key);
    try {
      if (this.#options.onNotice !== undefined) this.#options.onNotice(notice);
      else diag.warn(`Prometheus exposition: ${notice.metric}: ${notice.reason}`);
    } catch {
      // Whom it is told is the application's own; the scrape goes on.
    }
  }
}
