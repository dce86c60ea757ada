/**
 * What a Prometheus exposition of OpenTelemetry metrics must do, as checks that any exporter can be put to: the seven points in which
 * exporters miss the specification. Each throws an assertion error that says what is wrong.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spanId, traceId } from "./exposition-application.ts";

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** An application of `exposition-application.ts` whose metrics can be scraped. */
export interface Subject {
  scrape(accept?: string): Promise<Answer>;
  /** The host that it listens on although nobody said so; undefined if it listens nowhere. */
  readonly host: string | undefined;
  /** From here on collecting fails. */
  fail(): void;
  stop(): Promise<void>;
}

export interface Check {
  readonly name: string;
  run(subject: Subject): Promise<void>;
}

const spec = "https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/";
const exporterSpec = "https://opentelemetry.io/docs/specs/otel/metrics/sdk_exporters/prometheus/";
const textType = "text/plain;version=0.0.4";
const openmetricsType = "application/openmetrics-text;version=1.0.0";

function names(body: string): ReadonlySet<string> {
  const samples = body.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Set(samples.map((line) => line.split(/[{ ]/)[0] ?? ""));
}

async function metrics(subject: Subject, accept: string): Promise<string> {
  const { status, body } = await subject.scrape(accept);
  assert.equal(status, 200);
  return body;
}

export const checks: readonly Check[] = [
  {
    name: `ends names with their unit, once (${spec}#metric-metadata-1)`,
    async run(subject) {
      const all = names(await metrics(subject, textType));
      const expected = [
        "request_duration_seconds_bucket",
        "queue_wait_seconds_sum",
        "cache_size_bytes",
        "disk_io_bytes_total",
        "cpu_load_ratio",
        "requests_done_total",
      ];
      assert.deepEqual(
        expected.filter((name) => !all.has(name)),
        [],
        `there are ${[...all]}`,
      );
    },
  },
  {
    name: `says the unit of each family that has one in OpenMetrics (${spec}#metric-metadata-1)`,
    async run(subject) {
      const body = await metrics(subject, openmetricsType);
      const units = [...body.matchAll(/^# UNIT (\S+) (\S+)$/gm)].map(([, name, unit]) => [
        name,
        unit,
      ]);
      assert.deepEqual(
        units.filter(([name, unit]) => !name?.endsWith(`_${unit}`)),
        [],
        "a UNIT must be what its family's name ends with",
      );
      const expected = [
        ["cache_size_bytes", "bytes"],
        ["cpu_load_ratio", "ratio"],
        ["disk_io_bytes", "bytes"],
        ["queue_wait_seconds", "seconds"],
        ["request_duration_seconds", "seconds"],
        ["traced_duration_seconds", "seconds"],
      ];
      assert.deepEqual(units.sort(), expected);
    },
  },
  {
    name: `negotiates the format (${exporterSpec}#content-negotiation)`,
    async run(subject) {
      const text = /^text\/plain; ?version=0\.0\.4/;
      const openmetrics = /^application\/openmetrics-text; ?version=1\.0\.0/;
      const cases: readonly (readonly [string | undefined, RegExp])[] = [
        [undefined, text],
        ["*/*", text],
        [textType, text],
        [openmetricsType, openmetrics],
        [`${textType};q=0.5,${openmetricsType};q=0.9`, openmetrics],
        [`${textType};q=0.9,${openmetricsType};q=0.5`, text],
        ["image/png", text],
      ];
      for (const [accept, expected] of cases) {
        const { status, contentType, body } = await subject.scrape(accept);
        assert.equal(status, 200);
        assert.match(contentType, expected, `for ${accept}`);
        assert.equal(body.endsWith("# EOF\n"), expected === openmetrics, `for ${accept}`);
      }
    },
  },
  {
    name: `writes exemplars with their trace in OpenMetrics only (${spec}#exemplars-1)`,
    async run(subject) {
      const bucket = 'traced_duration_seconds_bucket{le="1.0"} 1';
      const exemplar = `# {trace_id="${traceId}",span_id="${spanId}"} 0.7 1700000000.123`;
      const lines = (await metrics(subject, openmetricsType)).split("\n");
      const line = lines.find((it) => it.startsWith('traced_duration_seconds_bucket{le="1'));
      assert.equal(line, `${bucket} ${exemplar}`);
      assert.ok(!(await metrics(subject, textType)).includes(traceId));
    },
  },
  {
    name: `has one TYPE for each family, and each series once (${spec}#metric-metadata-1)`,
    async run(subject) {
      for (const accept of [textType, openmetricsType]) {
        const lines = (await metrics(subject, accept)).split("\n").filter((line) => line !== "");
        const types = lines.filter((line) => line.startsWith("# TYPE"));
        assert.equal(new Set(types).size, types.length, types.join());
        const series = lines
          .filter((line) => !line.startsWith("#"))
          .map((line) => line.replace(/ # .*/, "").replace(/ \S+$/, ""));
        assert.equal(new Set(series).size, series.length);
        assert.ok(series.length > 10);
      }
    },
  },
  {
    name: `listens on loopback unless told otherwise (${exporterSpec}#configuration)`,
    async run(subject) {
      const loopback = [undefined, "localhost", "127.0.0.1", "::1"];
      assert.ok(loopback.includes(subject.host), `it listens on ${subject.host}`);
    },
  },
  {
    name: "answers no 200 when collecting fails, and says why in plain text",
    async run(subject) {
      subject.fail();
      const { status, contentType, body } = await subject.scrape(openmetricsType);
      assert.ok(status >= 500, `status ${status}`);
      assert.match(contentType, /^text\/plain/);
      assert.match(body, /the producer is broken/);
      assert.doesNotMatch(body, /^# /m);
    },
  },
];

/** Runs the checks, each on an application of its own. */
export function describeExposition(name: string, start: () => Promise<Subject>): void {
  describe(`${name} follows the specification: it`, () => {
    for (const check of checks) {
      it(check.name, async () => {
        const subject = await start();
        try {
          await check.run(subject);
        } finally {
          await subject.stop();
        }
      });
    }
  });
}
