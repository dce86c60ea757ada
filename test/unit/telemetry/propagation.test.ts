import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  createTraceState,
  defaultTextMapGetter,
  defaultTextMapSetter,
  propagation,
  ROOT_CONTEXT,
  type SpanContext,
  trace,
} from "@opentelemetry/api";
import {
  CompositePropagator,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
import fc from "fast-check";
import {
  contextOfCall,
  contextOfRecord,
  createHeaderWriter,
  parseTraceFields,
  traceFields,
  withTraceHeaders,
} from "../../../src/telemetry/propagation.ts";
import { createTelemetry } from "../../../src/telemetry/telemetry.ts";

const hex = (length: number) =>
  fc
    .array(fc.integer({ min: 0, max: 15 }), { minLength: length, maxLength: length })
    .map((digits) => digits.map((digit) => digit.toString(16)).join(""));

const spanContexts = fc.record({
  traceId: hex(32),
  spanId: hex(16),
  traceFlags: fc.integer({ min: 0, max: 1 }),
  traceState: fc.option(fc.constant(createTraceState("a=1,b=2")), { nil: undefined }),
});

const w3c = new W3CTraceContextPropagator();
const text = new TextDecoder();

function plain(context: SpanContext | undefined): unknown {
  if (context === undefined) return undefined;
  return { ...context, traceState: context.traceState?.serialize() || undefined };
}

describe("trace fields", () => {
  it("are written as OpenTelemetry's own W3C propagator writes them", () => {
    fc.assert(
      fc.property(spanContexts, ({ traceState, ...ids }) => {
        const spanContext = traceState === undefined ? ids : { ...ids, traceState };
        const carrier: Record<string, string> = {};
        w3c.inject(trace.setSpanContext(ROOT_CONTEXT, spanContext), carrier, defaultTextMapSetter);
        assert.deepEqual({ ...traceFields(spanContext) }, carrier);
      }),
    );
  });

  it("are read as OpenTelemetry's own W3C propagator reads them, also when hostile", () => {
    const part = fc.oneof(hex(2), hex(16), hex(32), fc.string(), fc.constant("0".repeat(32)));
    const traceparent = fc.oneof(
      fc
        .tuple(fc.constantFrom("00", "01", "ff", "cc"), hex(32), hex(16), hex(2))
        .map((p) => p.join("-")),
      fc
        .tuple(fc.constantFrom("00", "01"), hex(32), hex(16), hex(2), fc.string())
        .map((p) => p.join("-")),
      fc.array(part, { maxLength: 5 }).map((parts) => parts.join("-")),
      fc.string(),
    );
    const tracestate = fc.oneof(fc.constant("a=1,b=2"), fc.string());
    fc.assert(
      fc.property(traceparent, tracestate, (parent, state) => {
        // One space around the whole is the propagator's own leniency, not the specification's.
        fc.pre(parent.trim() === parent && !/[\r\n]/.test(parent));
        const carrier = { traceparent: parent, tracestate: state };
        const theirs = trace.getSpanContext(
          w3c.extract(ROOT_CONTEXT, carrier, defaultTextMapGetter),
        );
        assert.deepEqual(plain(parseTraceFields(carrier)), plain(theirs));
      }),
      { numRuns: 500 },
    );
  });

  it("are empty for no span and for an invalid one", () => {
    assert.deepEqual({ ...traceFields(undefined) }, {});
    const invalid = { traceId: "0".repeat(32), spanId: "0".repeat(16), traceFlags: 1 };
    assert.deepEqual({ ...traceFields(invalid) }, {});
  });

  it("make the caller's span the parent, and the root of a call without them", () => {
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    assert.equal(trace.getSpanContext(contextOfCall({ traceparent }))?.spanId, "b".repeat(16));
    assert.equal(contextOfCall({}), ROOT_CONTEXT);
    assert.equal(contextOfCall({ traceparent: "junk" }), ROOT_CONTEXT);
  });

  it("pass on no tracestate that is absurdly long", () => {
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    const read = parseTraceFields({ traceparent, tracestate: `a=${"x".repeat(9_000)}` });
    assert.equal(read?.traceState, undefined);
  });
});

describe("trace context in record headers", () => {
  const context = (flags: number, span = "b") =>
    trace.setSpanContext(ROOT_CONTEXT, {
      traceId: "a".repeat(32),
      spanId: span.repeat(16),
      traceFlags: flags,
    });
  const writer = (mode: "always" | "sampled" | "off") =>
    createHeaderWriter(createTelemetry({ propagation: mode }, { name: "test" }));

  before(() => {
    const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()];
    propagation.setGlobalPropagator(new CompositePropagator({ propagators }));
  });
  after(() => propagation.disable());

  it("is written by the global propagator for every valid context", () => {
    const headers = writer("always").headers(context(0));
    assert.deepEqual(
      headers.map(([name, value]) => [name, text.decode(value ?? undefined)]),
      [["traceparent", `00-${"a".repeat(32)}-${"b".repeat(16)}-00`]],
    );
  });

  it("is encoded once for each span context", () => {
    const headerWriter = writer("always");
    const one = context(1);
    const first = headerWriter.headers(one);
    assert.equal(headerWriter.headers(one), first);
    assert.notEqual(headerWriter.headers(context(1, "c")), first);
  });

  it("carries the baggage of the moment, not that of the record before", () => {
    const headerWriter = writer("always");
    const names = (value: string) => {
      const baggage = propagation.createBaggage({ user: { value } });
      const headers = headerWriter.headers(propagation.setBaggage(one, baggage));
      return headers.map(([, bytes]) => text.decode(bytes ?? undefined)).at(-1);
    };
    const one = context(1);
    assert.equal(names("ann"), "user=ann");
    assert.equal(names("bob"), "user=bob");
  });

  it("is left out without a context, when off, and when only sampled ones are wanted", () => {
    assert.deepEqual(writer("always").headers(ROOT_CONTEXT), []);
    assert.deepEqual(writer("off").headers(context(1)), []);
    assert.deepEqual(writer("sampled").headers(context(0)), []);
    assert.equal(writer("sampled").headers(context(1)).length, 1);
  });

  it("leaves alone what the user set, in both forms of headers", () => {
    const extra = writer("always").headers(context(1));
    assert.deepEqual(withTraceHeaders({ TraceParent: "mine" }, extra), [["TraceParent", "mine"]]);
    assert.deepEqual(withTraceHeaders([["a", null]], extra), [["a", null], ...extra]);
    assert.equal(withTraceHeaders(undefined, extra), extra);
    const own = { a: "b" };
    assert.equal(withTraceHeaders(own, []), own);
  });

  it("is read back from a record's headers, and hostile bytes are no context", () => {
    const headers = writer("always").headers(context(1));
    const found = contextOfRecord(headers);
    assert.equal(found && trace.getSpanContext(found)?.spanId, "b".repeat(16));
    assert.equal(contextOfRecord([]), undefined);
    assert.equal(contextOfRecord([["traceparent", null]]), undefined);
    assert.equal(contextOfRecord([["traceparent", new Uint8Array([0xff, 0, 1])]]), undefined);
  });

  it("survives a propagator that throws", () => {
    propagation.disable();
    propagation.setGlobalPropagator({
      inject() {
        throw new Error("broken");
      },
      extract() {
        throw new Error("broken");
      },
      fields: () => [],
    });
    assert.deepEqual(writer("always").headers(context(1)), []);
    assert.equal(contextOfRecord([["traceparent", new Uint8Array(1)]]), undefined);
  });
});
