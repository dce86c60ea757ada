/**
 * Attributes as the text of Prometheus labels, remembered for each attribute object (the SDK keeps one for each series), and
 * forgotten with it. Called by `family.ts`. It never throws, whatever the values are. Rules:
 * https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-attributes
 */
import type { AttributeMap } from "./collected.ts";
import { sanitizeName } from "./metric-name.ts";

/** Longer texts are made again for each scrape instead of being kept. */
const keptCharactersMax = 2_048;

/** Different attribute keys whose label names are remembered, and different combinations of them. */
const keptNamesMax = 2_000;

/** The labels of one series. */
export interface LabelText {
  /** `a="x",b="y"` in the attributes' own order, without braces. */
  readonly text: string;
  /** The names in that order, joined with commas: one string for all series that have the same. */
  readonly names: string;
}

export class LabelTexts {
  readonly #texts = new WeakMap<object, LabelText>();
  readonly #orders = new Map<string, string>();
  readonly #names = new Map<string, string>();
  readonly #reserved: (name: string) => boolean;

  /** `reserved`: labels that the exposition itself writes; an attribute of the name becomes `exported_…`, as in Prometheus. */
  constructor(reserved: (name: string) => boolean) {
    this.#reserved = reserved;
  }

  of(attributes: AttributeMap): LabelText {
    const kept = this.#texts.get(attributes);
    if (kept !== undefined) return kept;
    const pairs = this.pairsOf(attributes);
    const names = this.#order(pairs.map((pair) => pair.slice(0, pair.indexOf("="))).join(","));
    const made = { text: pairs.join(","), names };
    if (made.text.length <= keptCharactersMax) this.#texts.set(attributes, made);
    return made;
  }

  #order(names: string): string {
    const known = this.#orders.get(names);
    if (known !== undefined) return known;
    if (this.#orders.size < keptNamesMax) this.#orders.set(names, names);
    return names;
  }

  /** The same in an order that does not depend on the attributes', without empty values: Prometheus takes them for absent. */
  identityOf(attributes: AttributeMap): string {
    const pairs = this.pairsOf(attributes).filter((pair) => !pair.endsWith('=""'));
    return pairs.sort().join(",");
  }

  pairsOf(attributes: AttributeMap): string[] {
    const keys = Object.keys(attributes);
    const names: string[] = [];
    const values: string[] = [];
    let collides = false;
    for (const key of keys) {
      const name = this.#nameOf(key);
      // Only a changed name can be another's.
      collides ||= name !== key && names.includes(name);
      names.push(name);
      values.push(labelValue(attributes, key));
    }
    // A key that was valid as it stood may come after the one that was changed into it.
    collides ||= names.length > 1 && new Set(names).size < names.length;
    if (collides) return joined(keys, names, values);
    return names.map((name, i) => `${name}="${values[i]}"`);
  }

  #nameOf(key: string): string {
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    const sanitized = labelName(key);
    const name = this.#reserved(sanitized) ? `exported_${sanitized}` : sanitized;
    if (this.#names.size < keptNamesMax) this.#names.set(key, name);
    return name;
  }
}

/** A leading digit gets the prefix that the Collector gives it. */
export function labelName(key: string): string {
  const name = sanitizeName(key);
  if (name === "") return "_";
  return /^[0-9]/.test(name) ? `key_${name}` : name;
}

/** Values of keys that became one label, joined with `;` in the order of the original keys. */
function joined(
  keys: readonly string[],
  names: readonly string[],
  values: readonly string[],
): string[] {
  const order = keys.map((_, i) => i).sort((a, b) => compare(keys[a] ?? "", keys[b] ?? ""));
  const byName = new Map<string, string>();
  for (const name of names) byName.set(name, "");
  const filled = new Set<string>();
  for (const i of order) {
    const name = names[i] ?? "";
    const value = values[i] ?? "";
    byName.set(name, filled.has(name) ? `${byName.get(name)};${value}` : value);
    filled.add(name);
  }
  return Array.from(byName, ([name, value]) => `${name}="${value}"`);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A label whose name is valid as it is. */
export function labelPair(name: string, value: unknown): string {
  return `${name}="${labelValue({ value }, "value")}"`;
}

function labelValue(attributes: AttributeMap, key: string): string {
  try {
    const value = attributes[key];
    return escapeValue(typeof value === "string" ? value : textOf(value));
  } catch {
    // A getter or a toJSON() of the application that throws.
    return "";
  }
}

/** Values that are no strings, as JSON: https://opentelemetry.io/docs/specs/otel/common/#attribute */
function textOf(value: unknown): string {
  if (typeof value === "bigint") return `${value}`;
  return JSON.stringify(value) ?? "";
}

/** What must not stand in a quoted value as it is; half surrogate pairs and NUL cannot be in a text for Prometheus at all. */
const special = /[\\"\n\0\ud800-\udfff]/;

export function escapeValue(text: string): string {
  if (!special.test(text)) return text;
  return clean(text).replace(/[\\"\n]/g, (character) =>
    character === "\n" ? "\\n" : `\\${character}`,
  );
}

/** Of a `HELP` line. Quotes are escaped in OpenMetrics only. */
export function escapeHelp(text: string, quotes: boolean): string {
  const escaped = clean(text).replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return quotes ? escaped.replaceAll('"', '\\"') : escaped;
}

function clean(text: string): string {
  return text.toWellFormed().replaceAll("\0", "\ufffd");
}
