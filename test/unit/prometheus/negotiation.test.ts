import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { acceptsGzip, negotiateFormat } from "../../../src/prometheus/negotiation.ts";

const text = "text/plain; version=0.0.4; charset=utf-8";
const openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";

describe("the format that a client gets", () => {
  const cases: readonly (readonly [accept: string | null, contentType: string, why: string])[] = [
    [null, text, "no header"],
    ["", text, "an empty header"],
    ["*/*", text, "curl"],
    ["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", text, "a browser"],
    ["application/openmetrics-text", openmetrics, "no version"],
    ["application/openmetrics-text; version=1.0.0; charset=utf-8", openmetrics, "1.0.0"],
    ['application/openmetrics-text;version="1.0.0"', openmetrics, "a quoted version"],
    ["APPLICATION/OpenMetrics-Text;VERSION=1.0.0", openmetrics, "capitals"],
    [
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
      openmetrics,
      "Prometheus 2.42",
    ],
    [
      "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
      `${openmetrics}; escaping=underscores`,
      "Prometheus 3",
    ],
    [
      "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.9,text/plain;version=0.0.4;q=0.3",
      text,
      "a client that likes protobuf better, which is not offered",
    ],
    ["text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.4", text, "weights"],
    ["text/plain, application/openmetrics-text", text, "equal weights: the first named"],
    ["application/openmetrics-text, text/plain", openmetrics, "equal weights: the first named"],
    [
      "application/openmetrics-text;version=0.0.1",
      "application/openmetrics-text; version=0.0.1; charset=utf-8",
      "OpenMetrics 0.0.1",
    ],
    ["application/openmetrics-text;version=2.0.0", text, "a version that is not offered"],
    ["application/openmetrics-text;q=0", text, "what it does not want"],
    ["text/plain;q=0, */*;q=0.5", openmetrics, "everything but text"],
    ["text/*;q=0.2, application/*;q=0.1", text, "ranges of subtypes"],
    ["application/*, text/*;q=0.9", openmetrics, "ranges of subtypes"],
    [
      "text/plain;version=1.0.0;escaping=underscores",
      "text/plain; version=1.0.0; charset=utf-8; escaping=underscores",
      "text 1.0.0",
    ],
    ["image/png", text, "nothing that is offered"],
    ["application/openmetrics-text;q=nonsense", openmetrics, "a weight that is none"],
    [",;;q=,=,,*/*;=", text, "rubbish"],
  ];
  for (const [accept, contentType, why] of cases) {
    it(`is ${contentType.split(";").slice(0, 2).join(";")} for ${why}`, () => {
      assert.equal(negotiateFormat(accept).contentType, contentType);
      assert.equal(
        negotiateFormat(accept).format,
        contentType.startsWith("text") ? "text" : "openmetrics",
      );
    });
  }

  it("is one of those offered, whatever the header", () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.array(fc.constantFrom("text/plain", ";q=0.1", ",", "*/*", ";")),
        (a, b) => {
          const { contentType } = negotiateFormat(a + b.join(""));
          assert.match(contentType, /^(text\/plain|application\/openmetrics-text); version=/);
        },
      ),
    );
  });

  it("is found at once in a header of a megabyte", () => {
    assert.equal(negotiateFormat(`${"a/b,".repeat(260_000)}*/*`).contentType, text);
  });
});

describe("gzip", () => {
  const cases: readonly (readonly [string | null, boolean])[] = [
    [null, false],
    ["", false],
    ["gzip", true],
    ["GZIP", true],
    ["x-gzip", true],
    ["deflate, gzip;q=0.5", true],
    ["gzip;q=0", false],
    ["*", true],
    ["*;q=0", false],
    ["gzip;q=0, *", false],
    ["identity", false],
    ["br", false],
  ];
  for (const [header, taken] of cases) {
    it(`is ${taken ? "" : "not "}taken with ${JSON.stringify(header)}`, () => {
      assert.equal(acceptsGzip(header), taken);
    });
  }
});
