/**
 * An OTLP/HTTP receiver that understands both encodings by itself: no code of OpenTelemetry or of ours decodes here, only the field
 * numbers of opentelemetry-proto (https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto).
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export interface ReceivedSpan {
  readonly service: string;
  readonly scope: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  readonly kind: number;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly events: readonly string[];
  /** 0 unset, 2 error. */
  readonly status: number;
}

export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  readonly encodings: Set<string> = new Set();
  readonly #server: Server;
  url = "";

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Uint8Array[] = [];
      request.on("data", (chunk: Uint8Array) => chunks.push(chunk));
      request.on("end", () => {
        const encoding = request.headers["content-type"] ?? "";
        if (request.url === "/v1/traces") {
          this.encodings.add(encoding);
          const body = new Uint8Array(Buffer.concat(chunks));
          const json = encoding === "application/json";
          this.spans.push(...(json ? fromJson(body) : fromProtobuf(body)));
        }
        response
          .writeHead(200, { "content-type": encoding })
          .end(encoding.endsWith("json") ? "{}" : "");
      });
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

interface JsonValue {
  readonly stringValue?: string;
  readonly intValue?: string | number;
  readonly doubleValue?: number;
}
interface JsonAttribute {
  readonly key: string;
  readonly value: JsonValue;
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
  readonly status?: { readonly code?: number };
}
interface JsonRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly JsonAttribute[] };
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string };
      readonly spans: readonly JsonSpan[];
    }[];
  }[];
}

function fromJson(body: Uint8Array): ReceivedSpan[] {
  const request = JSON.parse(new TextDecoder().decode(body)) as JsonRequest;
  return request.resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = String(plain(resource.attributes)["service.name"] ?? "");
    return scopeSpans.flatMap(({ scope, spans }) =>
      spans.map((span) => ({
        ...{ service, scope: scope.name, name: span.name, kind: span.kind },
        traceId: span.traceId,
        spanId: span.spanId,
        parentSpanId: span.parentSpanId ?? "",
        attributes: plain(span.attributes ?? []),
        links: (span.links ?? []).map(({ traceId, spanId }) => ({ traceId, spanId })),
        events: (span.events ?? []).map((it) => it.name),
        status: span.status?.code ?? 0,
      })),
    );
  });
}

function plain(attributes: readonly JsonAttribute[]): Record<string, string | number> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.stringValue ?? Number(value.intValue ?? value.doubleValue),
    ]),
  );
}

/** A protobuf message as its fields: numbers (varint), or bytes (length-delimited and fixed). */
type Fields = Map<number, (number | Uint8Array)[]>;

function fieldsOf(bytes: Uint8Array): Fields {
  const fields: Fields = new Map();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  const take = (length: number): Uint8Array => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag & 7;
    const value =
      wire === 0 ? varint() : wire === 1 ? take(8) : wire === 5 ? take(4) : take(varint());
    const number = tag >>> 3;
    fields.set(number, [...(fields.get(number) ?? []), value]);
  }
  return fields;
}

function messages(fields: Fields, number: number): Fields[] {
  return (fields.get(number) ?? []).map((it) => fieldsOf(it as Uint8Array));
}

function bytesOf(fields: Fields, number: number): Uint8Array {
  return (fields.get(number)?.[0] as Uint8Array | undefined) ?? new Uint8Array();
}

function textOf(fields: Fields, number: number): string {
  return new TextDecoder().decode(bytesOf(fields, number));
}

function hexOf(fields: Fields, number: number): string {
  return Buffer.from(bytesOf(fields, number)).toString("hex");
}

/** AnyValue: 1 string, 3 int, 4 double. */
function attributesOf(fields: Fields, number: number): Record<string, string | number> {
  const found: Record<string, string | number> = {};
  for (const attribute of messages(fields, number)) {
    const value = messages(attribute, 2)[0] ?? new Map();
    const int = value.get(3)?.[0];
    found[textOf(attribute, 1)] = typeof int === "number" ? int : textOf(value, 1);
  }
  return found;
}

function fromProtobuf(body: Uint8Array): ReceivedSpan[] {
  const received: ReceivedSpan[] = [];
  for (const resourceSpans of messages(fieldsOf(body), 1)) {
    const resource = messages(resourceSpans, 1)[0] ?? new Map();
    const service = String(attributesOf(resource, 1)["service.name"] ?? "");
    for (const scopeSpans of messages(resourceSpans, 2)) {
      const scope = textOf(messages(scopeSpans, 1)[0] ?? new Map(), 1);
      for (const span of messages(scopeSpans, 2)) {
        received.push({
          ...{ service, scope, name: textOf(span, 5) },
          traceId: hexOf(span, 1),
          spanId: hexOf(span, 2),
          parentSpanId: hexOf(span, 4),
          kind: Number(span.get(6)?.[0] ?? 0),
          attributes: attributesOf(span, 9),
          events: messages(span, 11).map((event) => textOf(event, 2)),
          links: messages(span, 13).map((it) => ({ traceId: hexOf(it, 1), spanId: hexOf(it, 2) })),
          status: Number(messages(span, 15)[0]?.get(3)?.[0] ?? 0),
        });
      }
    }
  }
  return received;
}
