import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { RetryLater } from "../../../src/consumer/run-retry-later.ts";
import { unavailable } from "./fake-agent.ts";
import { measured } from "./measured.ts";
import { refused, setUp, values } from "./setup.ts";
import { DeadLetters, WorkBench } from "./work-bench.ts";

const RUN = "streamhouse.consumer.run";
const OWN = "topic=t,group_id=g";

/** The audit finds nothing amiss: neither between outcomes and what was begun, nor in what was consumed. */
function assertSound(read: Record<string, number | number[]>): void {
  for (const law of ["run_records", "records_consumed", "committed"]) {
    assert.equal(read[`streamhouse.audit.discrepancy{law=${law}}`], 0, law);
  }
}

describe("the metrics of a run", () => {
  it("count what becomes of records, retries, delays, and how long handlers take", async () => {
    const { agent, clock, open, read, until } = measured();
    agent.createTopic("t");
    agent.createTopic("dead");
    await agent.append("t", ["fine", "twice", "later", "poison"]);
    const dead = new DeadLetters();
    const consumer = open({}, { deadLetters: dead.source });
    const done = consumer.run(
      (record, { attempt }) => {
        const value = record.text();
        if (value === "poison" || (value === "twice" && attempt === 1)) throw new TypeError(value);
        if (value === "later" && attempt < 3) throw new RetryLater(10);
      },
      { deadLetterTopic: "dead", retry: { attempts: 3, baseMs: 10 } },
    );
    await clock.run(5_000);
    const shown = read();
    assert.equal(shown[`${RUN}.records{${OWN},outcome=done}`], 3);
    assert.equal(shown[`${RUN}.records{${OWN},outcome=dead_lettered}`], 1);
    assert.equal(shown[`${RUN}.records{${OWN},outcome=uncommitted}`], undefined);
    assert.equal(shown[`${RUN}.retries{${OWN},error.type=TypeError}`], 1 + 2);
    assert.equal(shown[`${RUN}.put_off{${OWN}}`], 2);
    assert.deepEqual(
      ["ok", "error", "put_off"].map(
        (it) => (shown[`${RUN}.handler.duration.seconds{${OWN},outcome=${it}}`] as number[])[0],
      ),
      [3, 4, 2],
    );
    assert.equal(shown[`streamhouse.records.consumed{${OWN}}`], 4, "each record once");
    assertSound(shown);
    await until(consumer.close());
    await done;
    assert.equal(read()[`${RUN}.records{${OWN},outcome=done}`], 3, "totals stay");
  });

  it("show what is in flight, blocked and waiting, and since when; a record is consumed when its handler is called", async () => {
    const { agent, clock, open, read, until } = measured();
    agent.createTopic("t");
    await agent.append("t", values(10));
    const consumer = open();
    const bench = new WorkBench();
    const done = consumer.run(bench.handler, {
      concurrency: 3,
      retry: { baseMs: 60_000, maxMs: 60_000 },
    });
    await clock.run(100);
    await bench.fail("v1", new Error("x"));
    await clock.run(7_000);
    const shown = read();
    assert.deepEqual(
      ["in_flight", "blocked", "waiting"].map((it) => shown[`${RUN}.${it}{group_id=g}`]),
      [3, 1, 6],
    );
    const oldest = shown[`${RUN}.oldest.seconds{group_id=g}`] as number;
    assert.ok(oldest >= 7 && oldest < 7.2, String(oldest));
    assert.equal(shown[`streamhouse.records.consumed{${OWN}}`], 4);
    assert.equal(shown["streamhouse.consumer.buffered.records{group_id=g}"], 6);
    assertSound(shown);
    await bench.finish(...bench.working);
    assertSound(read());
    const closing = consumer.close();
    await bench.finish(...bench.working);
    await until(closing);
    await done;
    const after = read();
    assert.equal(after[`${RUN}.records{${OWN},outcome=done}`], 6);
    assert.equal(after[`${RUN}.records{${OWN},outcome=uncommitted}`], 1, "v1 was put back");
    assert.equal(after[`${RUN}.in_flight{group_id=g}`] ?? 0, 0);
    assert.equal(after[`${RUN}.oldest.seconds{group_id=g}`], undefined);
  });

  it("count as uncommitted what ends after its partition was lost, and what a failed dead letter leaves", async () => {
    const { agent, clock, open, read, until } = measured();
    agent.createTopic("t");
    agent.createTopic("dead");
    await agent.append("t", ["v0"]);
    const dead = new DeadLetters();
    const consumer = open({}, { deadLetters: dead.source });
    const bench = new WorkBench();
    const options = { deadLetterTopic: "dead", retry: { attempts: 1 } };
    const done = consumer.run(bench.handler, options);
    done.catch(() => {});
    await clock.run(100);
    agent.groups.expel();
    await clock.run(3_000);
    assertSound(read());
    await bench.finish("v0");
    assert.equal(read()[`${RUN}.records{${OWN},outcome=uncommitted}`], 1);
    dead.faults.push(unavailable("away"));
    await bench.fail("v0", new Error("x"));
    await refused(until(done), "AGENT_UNREACHABLE");
    const shown = read();
    assert.equal(shown[`${RUN}.records{${OWN},outcome=uncommitted}`], 2);
    assert.equal(shown[`${RUN}.dead_letter.errors{${OWN},error.type=AGENT_UNREACHABLE}`], 1);
    assertSound(shown);
    await until(consumer.close());
  });

  it("change nothing, and cost no series, when there is no telemetry", async () => {
    const { agent, clock, open, until } = setUp(false);
    agent.createTopic("t");
    await agent.append("t", values(5));
    const consumer = open();
    let calls = 0;
    const done = consumer.run(() => void calls++);
    await clock.run(1_000);
    await until(consumer.close());
    await done;
    assert.equal(calls, 5);
    assert.equal(agent.groups.committed("t"), 5);
  });
});

describe("the spans of a run", () => {
  const exporter = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  });
  before(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  });
  after(() => {
    context.disable();
    propagation.disable();
  });

  it("are one for each record over all its attempts, with what happened as events", async () => {
    const { agent, clock, open, until } = setUp({ tracerProvider });
    agent.createTopic("t");
    agent.createTopic("dead");
    await agent.append("t", ["fine", "poison"]);
    exporter.reset();
    const dead = new DeadLetters();
    const consumer = open({}, { deadLetters: dead.source });
    const inside = new Set<string | undefined>();
    const outer = tracerProvider.getTracer("test").startSpan("outer");
    const done = context.with(trace.setSpan(context.active(), outer), () =>
      consumer.run(
        (record, { attempt }) => {
          inside.add(trace.getActiveSpan()?.spanContext().spanId);
          if (record.text() !== "poison") return;
          if (attempt === 1) throw new RetryLater(10, "busy");
          throw new TypeError("cannot");
        },
        { deadLetterTopic: "dead", retry: { attempts: 2, baseMs: 10 } },
      ),
    );
    await clock.run(5_000);
    await until(consumer.close());
    await done;
    const spans = exporter.getFinishedSpans().filter((it) => it.name === "process t");
    assert.deepEqual(
      spans.map((it) => [it.kind, it.attributes.offset, it.status.code, it.parentSpanContext]),
      [
        [SpanKind.CONSUMER, 0, SpanStatusCode.UNSET, undefined],
        [SpanKind.CONSUMER, 1, SpanStatusCode.ERROR, undefined],
      ],
      "not children of the span that was active when run() was called",
    );
    assert.deepEqual(inside, new Set(spans.map((it) => it.spanContext().spanId)));
    assert.deepEqual(
      spans[1]?.events.map((it) => [it.name, it.attributes?.attempt]),
      [
        ["put_off", 1],
        ["retry", 2],
        ["dead_letter", 3],
      ],
    );
    assert.equal(spans[1]?.attributes["error.type"], "TypeError");
    assert.ok(exporter.getFinishedSpans().some((it) => it.name === "commit t"));
  });

  it("end with the run, and say of a record that it is not committed", async () => {
    const { agent, clock, open, until } = setUp({ tracerProvider });
    agent.createTopic("t");
    await agent.append("t", ["v0"]);
    exporter.reset();
    const consumer = open();
    const done = consumer.run(() => {
      throw new RetryLater(60_000);
    });
    await clock.run(1_000);
    await until(consumer.close());
    await done;
    const [span] = exporter.getFinishedSpans().filter((it) => it.name === "process t");
    assert.deepEqual(
      span?.events.map((it) => it.name),
      ["put_off", "uncommitted"],
    );
    assert.equal(span?.status.code, SpanStatusCode.UNSET);
  });
});
