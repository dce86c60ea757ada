/**
 * The bodies of OTLP exports as spans, decoded by nothing that OpenTelemetry's JavaScript packages had a hand in: protobuf by `protoc`
 * with the published schema, JSON by its specification. Used by otlp-bytes.test.ts.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root } from "../../scripts/runtimes.ts";
import type { SeenSpan } from "./seen-span.ts";

/** The published schema, as the mock server carries it. */
const schema = join(root, "node_modules", "@elastic", "mockotlpserver");

/** https://github.com/open-telemetry/opentelemetry-proto/blob/v1.7.0/opentelemetry/proto/trace/v1/trace.proto#L103 */
const kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"];

/** @throws Error if protoc refuses the bytes, or if a field is not in the schema */
export function spansOfProtobuf(body: Uint8Array): readonly SeenSpan[] {
  const type = "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest";
  const file = "opentelemetry/proto/collector/trace/v1/trace_service.proto";
  const decoded = spawnSync("protoc", [`--decode=${type}`, `-I${schema}`, file], {
    cwd: schema,
    input: body,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (decoded.status !== 0) throw new Error(`protoc: ${decoded.error ?? decoded.stderr}`);
  const message = parseText(decoded.stdout.toString("latin1"));
  return children(message, "resource_spans").flatMap((resourceSpans) => {
    const resource = attributesOf(children(resourceSpans, "resource")[0] ?? new Map());
    return children(resourceSpans, "scope_spans").flatMap((scopeSpans) =>
      children(scopeSpans, "spans").map((span) => ({
        traceId: hex(span, "trace_id"),
        spanId: hex(span, "span_id"),
        name: text(span, "name"),
        kind: text(span, "kind").replace("SPAN_KIND_", "").toLowerCase(),
        service: String(resource["service.name"]),
        parent: span.has("parent_span_id")
          ? { traceId: hex(span, "trace_id"), spanId: hex(span, "parent_span_id") }
          : undefined,
        links: children(span, "links").map((link) => ({
          traceId: hex(link, "trace_id"),
          spanId: hex(link, "span_id"),
        })),
        attributes: attributesOf(span),
        events: children(span, "events").map((event) => text(event, "name")),
      })),
    );
  });
}

/** A message in protobuf's text format: each field's values in order, strings as their bytes in latin1. */
type Message = Map<string, (string | Message)[]>;

/** Of protobuf's text format what `protoc --decode` prints (https://protobuf.dev/reference/protobuf/textformat-spec/). */
function parseText(input: string): Message {
  const stack: Message[] = [new Map()];
  for (const line of input.split("\n")) {
    const [, name = "", value] = /^\s*(\w+)(?:: (.*)| \{)$/.exec(line) ?? [];
    const top = stack.at(-1);
    if (top === undefined) throw new Error(`unbalanced: ${line}`);
    if (/^\s*\}$/.test(line)) stack.pop();
    else if (/^\d+$/.test(name)) throw new Error(`a field that is not in the schema: ${line}`);
    else if (name !== "") {
      const message: Message = new Map();
      const values = top.get(name) ?? [];
      values.push(value === undefined ? message : unquote(value));
      top.set(name, values);
      if (value === undefined) stack.push(message);
    } else if (line.trim() !== "") throw new Error(`not understood: ${line}`);
  }
  const [message] = stack;
  if (message === undefined || stack.length !== 1) throw new Error("unbalanced");
  return message;
}

function unquote(value: string): string {
  if (!value.startsWith('"')) return value;
  const escapes: Record<string, string> = { n: "\n", r: "\r", t: "\t" };
  return value
    .slice(1, -1)
    .replace(/\\([0-7]{3}|.)/g, (_, it: string) =>
      it.length === 3 ? String.fromCharCode(Number.parseInt(it, 8)) : (escapes[it] ?? it),
    );
}

function children(message: Message, field: string): readonly Message[] {
  return (message.get(field) ?? []).filter((it) => typeof it !== "string");
}

function text(message: Message, field: string): string {
  const value = message.get(field)?.[0];
  return typeof value === "string" ? value : "";
}

function hex(message: Message, field: string): string {
  return Buffer.from(text(message, field), "latin1").toString("hex");
}

function attributesOf(message: Message): SeenSpan["attributes"] {
  const entries = children(message, "attributes").map((attribute) => {
    const [value] = children(attribute, "value");
    const [[type, [content]] = ["", []]] = value ?? [];
    const shown = String(content);
    if (type === "int_value" || type === "double_value") return [text(attribute, "key"), +shown];
    if (type === "bool_value") return [text(attribute, "key"), shown === "true"];
    return [text(attribute, "key"), shown];
  });
  return Object.fromEntries(entries);
}

interface JsonAttribute {
  readonly key: string;
  readonly value: {
    readonly stringValue?: string;
    /** 64-bit integers may be numbers or strings. */
    readonly intValue?: number | string;
    readonly doubleValue?: number;
    readonly boolValue?: boolean;
  };
}

interface JsonSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly attributes?: readonly JsonAttribute[];
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly events?: readonly { readonly name: string }[];
}

interface JsonExport {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly JsonAttribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly JsonSpan[] }[];
  }[];
}

/** https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids in hex, enums as numbers, names in lowerCamelCase. */
export function spansOfJson(body: Uint8Array): readonly SeenSpan[] {
  const message = JSON.parse(new TextDecoder().decode(body)) as JsonExport;
  return message.resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => {
        if (!/^[\da-f]{32}$/.test(span.traceId) || !/^[\da-f]{16}$/.test(span.spanId)) {
          throw new Error(`ids are not in hex: ${span.traceId}, ${span.spanId}`);
        }
        const { traceId, parentSpanId } = span;
        return {
          traceId,
          spanId: span.spanId,
          name: span.name,
          kind: kinds[span.kind] ?? "",
          service: String(plain(resource.attributes)["service.name"]),
          parent: parentSpanId ? { traceId, spanId: parentSpanId } : undefined,
          links: (span.links ?? []).map((link) => ({
            traceId: link.traceId,
            spanId: link.spanId,
          })),
          attributes: plain(span.attributes ?? []),
          events: (span.events ?? []).map(({ name }) => name),
        };
      }),
    ),
  );
}

function plain(attributes: readonly JsonAttribute[]): SeenSpan["attributes"] {
  const entries = attributes.map(({ key, value }) => {
    const { stringValue, intValue, doubleValue, boolValue } = value;
    const number = intValue === undefined ? doubleValue : Number(intValue);
    return [key, stringValue ?? number ?? boolValue ?? ""];
  });
  return Object.fromEntries(entries);
}
