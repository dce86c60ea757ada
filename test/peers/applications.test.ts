/**
 * The same work in three applications, each a process with an SDK of its own that it registered globally: our bootstrap, a 2.x SDK, and
 * a 3.x `NodeSDK`. What each shows has the same names and labels, and the same numbers where the work decides them; the traces of the
 * 3.x application arrive by its own exporter.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { whyNoPeers } from "../../scripts/peers.ts";
import { eventually } from "../integration/child.ts";
import { type Jaeger, startJaeger } from "./backends.ts";
import { installSdk3, sdk3Version } from "./otel-3.ts";
import { type Running, runFile } from "./running.ts";
import { named, reference } from "./seen-span.ts";
import {
  differences,
  type Exposition,
  familyOf,
  only,
  readExposition,
  withoutEmptyHistograms,
} from "./series.ts";
import { SENT } from "./workload.ts";

interface Answer {
  readonly text: string;
  readonly traceId: string;
}

/** `server_port` is another one on every run. */
const reading = {
  ignoredLabels: ["otel_scope_name", "otel_scope_version", "otel_scope_schema_url"],
  anyValue: ["server_port"],
};

/** Families whose numbers the work decides: of histograms how many samples there are, of these also in which bucket. */
const decided =
  /^streamhouse_(records|bytes)_(sent|consumed|written)_total$|^streamhouse_(high_watermark|log_start_offset|consumer_lag_records|group_lag_records|last_committed_offset|current_offset|active_partitions|pending_records|send_errors_total|batch_size_records|batch_size_bytes)$|^messaging_client_(sent|consumed)_messages_total$/;
const counted =
  /^streamhouse_(send_duration|batch_flush_duration|write_latency|end_to_end_latency|record_age)_seconds$|^messaging_process_duration_seconds$/;

async function run(which: string, otlp?: string): Promise<Answer> {
  const traces = otlp === undefined ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT: otlp };
  const env: Record<string, string> = { OTEL_TRACES_SAMPLER: "always_on", ...traces };
  return runFile("node", "test/peers/programs/application.ts", [which], env).result<Answer>();
}

function read({ text }: Answer): Exposition {
  const all = withoutEmptyHistograms(readExposition(text, reading));
  return only(all, (family) => !/^streamhouse_telemetry_/.test(family));
}

/** Of the numbers only those that are the same on every run. */
function decidedByTheWork(exposition: Exposition): Exposition {
  const part = only(exposition, (family) => decided.test(family) || counted.test(family));
  const series = [...part.series].filter(([key]) => {
    const isCount = /_count\{/.test(key);
    return decided.test(familyOf(part, key)) || isCount;
  });
  return { ...part, series: new Map(series) };
}

describe(`applications with an SDK of their own, 2.x and ${sdk3Version}`, () => {
  const real = whyNoPeers() === undefined;
  let jaeger: Jaeger | undefined;
  /** Takes the traces where there is no Jaeger. */
  let mock: Running | undefined;
  let own: Answer;
  let two: Answer;
  let three: Answer;

  before(async () => {
    installSdk3();
    if (real) jaeger = await startJaeger();
    else mock = runFile("node", "test/peers/programs/mock-otlp.ts", []);
    const answered = await mock?.says<{ readonly url: string }>();
    const otlp = jaeger?.otlp ?? answered?.url.replace(/\/$/, "") ?? "";
    [own, two, three] = await Promise.all([run("own"), run("2", otlp), run("3", otlp)]);
  });
  after(async () => {
    await jaeger?.stop();
    await mock?.end();
  });

  it("shows the same families, kinds and descriptions", () => {
    const shape = (answer: Answer) => ({ ...read(answer), series: new Map() });
    for (const other of [two, three]) {
      assert.deepEqual(differences(shape(own), shape(other)), []);
    }
  });

  it("shows the same numbers where the work decides them", () => {
    const first = decidedByTheWork(read(own));
    assert.equal(first.series.get('streamhouse_records_sent_total{topic="orders"}'), SENT);
    for (const other of [two, three]) {
      assert.deepEqual(differences(first, decidedByTheWork(read(other))), []);
    }
  });

  it("sends the traces of both applications by their own providers", {
    skip: real ? false : "no Jaeger here",
  }, async () => {
    for (const [answer, service] of [
      [two, "application-2"],
      [three, "application-3"],
    ] as const) {
      const spans = await eventually(`the spans of ${service}`, async () => {
        const found = await jaeger?.trace(answer.traceId);
        const sends = found?.filter(({ name }) => name === "send orders") ?? [];
        return sends.length === SENT && found;
      });
      const work = named(spans, "the work");
      assert.equal(work.service, service);
      const sends = spans.filter(({ name }) => name === "send orders");
      for (const span of sends) {
        assert.deepEqual([span.kind, span.parent], ["producer", reference(work)]);
      }
      const produce = spans.filter(({ name }) => name === "ProducerService.produce");
      assert.equal(produce.length, SENT, "one request for each record");
      assert.ok(produce.every(({ kind }) => kind === "server"));
    }
  });
});
