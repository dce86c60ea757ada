/** How numbers are written: values as JavaScript writes them, which all formats read, and bucket bounds. Pure. */

/** A sample's value. */
export function valueText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  return `${value}`;
}

/**
 * The `le` of OpenMetrics: always a float, so that `1` and `1.0` are not two series
 * (https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md#considerations-canonical-numbers). Powers of
 * ten from 1e+06 on and below 0.0001 are written as the standard's examples do: with an exponent of two digits.
 */
export function canonicalBound(bound: number): string {
  if (!Number.isFinite(bound)) return valueText(bound);
  const size = Math.abs(bound);
  if (size !== 0 && (size >= 1e6 || size < 1e-4)) {
    const [digits = "", exponent = ""] = bound.toExponential().split("e");
    const sign = exponent.startsWith("-") ? "-" : "+";
    return `${digits}e${sign}${exponent.slice(1).padStart(2, "0")}`;
  }
  return Number.isInteger(bound) ? `${bound}.0` : `${bound}`;
}
