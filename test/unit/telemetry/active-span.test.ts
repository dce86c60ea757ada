import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { context, ROOT_CONTEXT, TraceFlags, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { ActiveSpan } from "../../../src/telemetry/active-span.ts";

const spanContext = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  traceFlags: TraceFlags.SAMPLED,
};

/** What is seen at this time with a span active. */
function seen(active: ActiveSpan, now: number): unknown {
  return context.with(trace.setSpanContext(ROOT_CONTEXT, spanContext), () => active.at(now));
}

describe("the active span", () => {
  afterEach(() => context.disable());

  it("is none where nobody registered a context manager", () => {
    assert.equal(seen(new ActiveSpan(), 0), undefined);
  });

  it("is none outside of any span", () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    assert.equal(new ActiveSpan().at(0), undefined);
  });

  it("is the one that is active, from the first record on", () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    const active = new ActiveSpan();
    assert.deepEqual(seen(active, 0), spanContext);
    assert.equal(active.at(0), undefined);
  });

  it("is seen within a millisecond after a context manager was registered late", () => {
    const active = new ActiveSpan();
    assert.equal(seen(active, 1_000), undefined);
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    assert.deepEqual(seen(active, 1_001), spanContext);
    assert.deepEqual(seen(active, 1_001.1), spanContext);
  });

  it("is none again once the context manager is gone", () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    const active = new ActiveSpan();
    assert.deepEqual(seen(active, 0), spanContext);
    context.disable();
    assert.equal(seen(active, 1), undefined);
  });
});
