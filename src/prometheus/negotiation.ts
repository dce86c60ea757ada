/**
 * Which format and which encoding a client gets, by its `Accept` and `Accept-Encoding` headers. Pure, for any header value; called
 * by `handler.ts`. https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1 and
 * https://prometheus.io/docs/instrumenting/content_negotiation/
 */
import { OPENMETRICS_TEXT, PROMETHEUS_TEXT, type PrometheusFormat } from "./format.ts";

/** A format and the content type that says so. */
export interface NegotiatedFormat {
  readonly format: PrometheusFormat;
  readonly contentType: string;
}

interface Offer extends NegotiatedFormat {
  readonly type: string;
  /** The `version` parameters that ask for it; empty is for none. */
  readonly versions: readonly string[];
  /** It knows `escaping`: names are always sent with underscores, which every reader must take. */
  readonly escaping: boolean;
}

const textPlain = "text/plain";
const openmetricsText = "application/openmetrics-text";

/** What a client that likes several equally gets is the first of them. */
const offers: readonly Offer[] = [
  {
    format: "text",
    type: textPlain,
    versions: ["", "0.0.4"],
    contentType: PROMETHEUS_TEXT,
    escaping: false,
  },
  {
    format: "openmetrics",
    type: openmetricsText,
    versions: ["", "1.0.0"],
    contentType: OPENMETRICS_TEXT,
    escaping: true,
  },
  {
    format: "openmetrics",
    type: openmetricsText,
    versions: ["0.0.1"],
    contentType: "application/openmetrics-text; version=0.0.1; charset=utf-8",
    escaping: false,
  },
  {
    // What Prometheus 3 calls the same text where names may be quoted. Ours never need it.
    format: "text",
    type: textPlain,
    versions: ["1.0.0"],
    contentType: "text/plain; version=1.0.0; charset=utf-8",
    escaping: true,
  },
];

/** One part of an `Accept` header. */
interface MediaRange {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly q: number;
  readonly position: number;
}

/** Parts of a header that are looked at; no honest client sends more. */
const rangesMax = 64;

/**
 * The format with the highest weight; of equal ones the one that the header names first. Without a header, and if it asks only for
 * what is not offered, the text format.
 */
export function negotiateFormat(accept: string | null | undefined): NegotiatedFormat {
  const ranges = parseRanges(accept ?? "");
  let best: { readonly offer: Offer; readonly range: MediaRange } | undefined;
  for (const offer of offers) {
    const range = mostSpecific(offer, ranges);
    if (range === undefined || range.q === 0) continue;
    if (best === undefined || isBetter(range, best.range)) best = { offer, range };
  }
  if (best === undefined) return { format: "text", contentType: PROMETHEUS_TEXT };
  const { format, contentType, escaping } = best.offer;
  const asked = escaping && best.range.parameters.has("escaping");
  return { format, contentType: asked ? `${contentType}; escaping=underscores` : contentType };
}

function isBetter(a: MediaRange, b: MediaRange): boolean {
  return a.q > b.q || (a.q === b.q && a.position < b.position);
}

function mostSpecific(offer: Offer, ranges: readonly MediaRange[]): MediaRange | undefined {
  let best: MediaRange | undefined;
  let precision = 0;
  for (const range of ranges) {
    const matched = precisionOf(offer, range);
    if (matched > precision) {
      best = range;
      precision = matched;
    }
  }
  return best;
}

/** 0: does not match; then the more the range says, the more it counts. */
function precisionOf(offer: Offer, { type, parameters }: MediaRange): number {
  if (type === "*/*") return 1;
  if (type === `${offer.type.split("/")[0]}/*`) return 2;
  const version = parameters.get("version");
  if (type !== offer.type || !offer.versions.includes(version ?? "")) return 0;
  return version === undefined ? 3 : 4;
}

function parseRanges(header: string): readonly MediaRange[] {
  return header
    .split(",", rangesMax)
    .map((part, position) => {
      const [type = "", ...rest] = part.split(";");
      const parameters = new Map<string, string>();
      for (const one of rest) {
        const [name = "", value = ""] = one.split("=", 2);
        parameters.set(name.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/, "$1"));
      }
      const q = weightOf(parameters.get("q"));
      return { type: type.trim().toLowerCase(), parameters, q, position };
    })
    .filter(({ type }) => type !== "");
}

/** A weight that cannot be read is none: the range counts fully. */
function weightOf(text: string | undefined): number {
  const q = text === undefined || text === "" ? 1 : Number(text);
  return Number.isNaN(q) ? 1 : Math.min(1, Math.max(0, q));
}

/** Whether the client takes gzip: it says so, by name or with `*`. */
export function acceptsGzip(acceptEncoding: string | null | undefined): boolean {
  const ranges = parseRanges(acceptEncoding ?? "");
  const named = ranges.find(({ type }) => type === "gzip" || type === "x-gzip");
  const range = named ?? ranges.find(({ type }) => type === "*");
  return range !== undefined && range.q > 0;
}
