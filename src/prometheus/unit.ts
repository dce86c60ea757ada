/**
 * The Prometheus unit of an OpenTelemetry unit (UCUM), which ends a metric's name and is its `# UNIT`. Pure; called by
 * `metric-name.ts`. Rules: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata-1
 * and, for the words, https://github.com/prometheus/otlptranslator (which the Collector and Prometheus use).
 */

const words: Readonly<Record<string, string>> = {
  d: "days",
  h: "hours",
  min: "minutes",
  s: "seconds",
  ms: "milliseconds",
  us: "microseconds",
  ns: "nanoseconds",
  By: "bytes",
  KiBy: "kibibytes",
  MiBy: "mebibytes",
  GiBy: "gibibytes",
  TiBy: "tibibytes",
  KBy: "kilobytes",
  kBy: "kilobytes",
  MBy: "megabytes",
  GBy: "gigabytes",
  TBy: "terabytes",
  m: "meters",
  V: "volts",
  A: "amperes",
  J: "joules",
  W: "watts",
  g: "grams",
  Cel: "celsius",
  Hz: "hertz",
  "%": "percent",
};

/** After `per`, in the singular. */
const perWords: Readonly<Record<string, string>> = {
  s: "second",
  m: "minute",
  min: "minute",
  h: "hour",
  d: "day",
  w: "week",
  mo: "month",
  y: "year",
};

/** Of a metric's unit; the rest is no unit that anybody meant. */
const unitCharactersMax = 63;

/**
 * Empty for no unit: annotations as `{record}` are none, and `1` is one (`ratio`) for gauges only, because the older conventions
 * have it on counters of things; so do the Collector and Prometheus.
 */
export function prometheusUnit(unit: string, isGauge: boolean): string {
  if (unit === "" || unit.length > unitCharactersMax) return "";
  if (unit === "1") return isGauge ? "ratio" : "";
  const [main = "", per = ""] = unit.replace(/\{[^}]*\}/g, "").split(/\/(.*)/s);
  const mainWord = wordOf(main.trim(), words);
  const perWord = wordOf(per.trim(), perWords);
  if (perWord === "") return mainWord;
  return mainWord === "" ? `per_${perWord}` : `${mainWord}_per_${perWord}`;
}

function wordOf(unit: string, dictionary: Readonly<Record<string, string>>): string {
  if (unit === "1") return "";
  const word = Object.hasOwn(dictionary, unit) ? (dictionary[unit] ?? "") : unit;
  return word.replace(/[^a-zA-Z0-9]+/g, "_").replace(/^_+|_+$/g, "");
}
