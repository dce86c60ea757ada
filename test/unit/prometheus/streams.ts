/** Collections made by hand, in the shape that the SDK's readers answer, and the text that they become. */
import type {
  AttributeMap,
  CollectedMetrics,
  MetricPoint,
  MetricScope,
  MetricStream,
} from "../../../src/prometheus/collected.ts";
import {
  createPrometheusSerializer,
  type SerializerOptions,
  textOf,
} from "../../../src/prometheus/serializer.ts";

export interface StreamParts {
  readonly name: string;
  readonly unit?: string;
  readonly description?: string;
  readonly points: readonly (Partial<MetricPoint> & { readonly value: unknown })[];
}

function stream(parts: StreamParts, dataPointType: number, isMonotonic = false): MetricStream {
  const { name, unit = "", description = "" } = parts;
  return {
    descriptor: { name, unit, description },
    dataPointType,
    aggregationTemporality: 1,
    isMonotonic,
    dataPoints: parts.points.map((point) => ({ attributes: {}, endTime: [1, 0], ...point })),
  };
}

export const counter = (parts: StreamParts): MetricStream => stream(parts, 3, true);
export const upDownCounter = (parts: StreamParts): MetricStream => stream(parts, 3);
export const gauge = (parts: StreamParts): MetricStream => stream(parts, 2);
export const histogram = (parts: StreamParts): MetricStream => stream(parts, 0);
export const exponential = (parts: StreamParts): MetricStream => stream(parts, 1);

export function collected(
  streams: readonly MetricStream[],
  resource: AttributeMap = {},
  scope: MetricScope = { name: "test" },
): CollectedMetrics {
  return {
    resource: { attributes: resource },
    scopeMetrics: [{ scope, metrics: streams }],
  };
}

/** Several scopes in one collection. */
export function scopes(
  ...parts: readonly (readonly [MetricScope, readonly MetricStream[]])[]
): CollectedMetrics {
  return {
    resource: { attributes: {} },
    scopeMetrics: parts.map(([scope, metrics]) => ({ scope, metrics })),
  };
}

export interface Written {
  readonly lines: readonly string[];
  readonly notices: readonly string[];
}

export async function write(
  metrics: CollectedMetrics | readonly MetricStream[],
  format: "text" | "openmetrics" = "text",
  options: SerializerOptions = {},
): Promise<Written> {
  const notices: string[] = [];
  const onNotice = ({ metric, reason }: { metric: string; reason: string }) => {
    notices.push(`${metric}: ${reason}`);
  };
  const serializer = createPrometheusSerializer({ onNotice, ...options });
  const all = "resource" in metrics ? metrics : collected(metrics);
  const text = await textOf(serializer.serialize(all, format));
  return { lines: text.split("\n").slice(0, -1), notices };
}

/** The lines that are no comments. */
export async function samples(...args: Parameters<typeof write>): Promise<readonly string[]> {
  return (await write(...args)).lines.filter((line) => !line.startsWith("#"));
}
