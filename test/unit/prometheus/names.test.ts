import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type FamilyKind, familyName } from "../../../src/prometheus/metric-name.ts";
import { canonicalBound, valueText } from "../../../src/prometheus/number.ts";
import { prometheusUnit } from "../../../src/prometheus/unit.ts";

const named = (name: string, unit = "", kind: FamilyKind = "gauge", isGauge = kind === "gauge") =>
  familyName({ name, unit, isGauge }, kind, { prefix: "", units: true });

describe("the unit of a metric", () => {
  const words: readonly (readonly [string, string])[] = [
    ["", ""],
    ["s", "seconds"],
    ["ms", "milliseconds"],
    ["By", "bytes"],
    ["KiBy", "kibibytes"],
    ["Cel", "celsius"],
    ["%", "percent"],
    ["{record}", ""],
    ["{record}/s", "per_second"],
    ["By/s", "bytes_per_second"],
    ["m/h", "meters_per_hour"],
    ["By{payload}", "bytes"],
    ["widgets", "widgets"],
    ["foo bar/1", "foo_bar"],
    ["__proto__", "proto"],
    ["constructor", "constructor"],
    ["x".repeat(64), ""],
  ];
  for (const [unit, word] of words) {
    it(`is ${word || "none"} for ${JSON.stringify(unit.slice(0, 20))}`, () => {
      assert.equal(prometheusUnit(unit, true), word);
    });
  }

  it("is ratio for 1 on a gauge, and none on what counts things", () => {
    assert.equal(prometheusUnit("1", true), "ratio");
    assert.equal(prometheusUnit("1", false), "");
  });
});

describe("the name of a family", () => {
  it("ends with the unit, once, before _total", () => {
    assert.equal(
      named("http.server.request.duration", "s")?.base,
      "http_server_request_duration_seconds",
    );
    assert.equal(named("queue.wait.seconds", "s")?.base, "queue_wait_seconds");
    assert.equal(named("seconds", "s")?.base, "seconds");
    assert.equal(named("read.bytes.total", "By", "counter")?.sample, "read_bytes_total");
    assert.equal(named("disk.io", "By", "counter")?.sample, "disk_io_bytes_total");
    assert.equal(named("disk.io_total", "By", "counter")?.sample, "disk_io_bytes_total");
    assert.equal(named("fill", "1")?.base, "fill_ratio");
    assert.equal(named("threads", "1", "gauge", false)?.base, "threads");
  });

  it("that only contains the unit gets it at the end all the same, so that UNIT is true", () => {
    assert.equal(named("seconds.of.silence", "s")?.base, "seconds_of_silence_seconds");
  });

  it("has letters, digits and single underscores only", () => {
    assert.equal(named("a..b--c/d__e:f")?.base, "a_b_c_d_e_f");
    assert.equal(named("9lives")?.base, "_9lives");
    assert.equal(named("größe")?.base, "gr_e");
    assert.equal(named('a\nb"c')?.base, "a_b_c");
  });

  it("is none where nothing is left", () => {
    for (const name of ["", "...", "💥", "_"]) assert.equal(named(name), undefined);
  });

  it("carries a prefix and leaves units away where that is asked for", () => {
    const options = { prefix: "my.app", units: false };
    const name = familyName({ name: "x", unit: "s", isGauge: false }, "counter", options);
    assert.deepEqual(name, { base: "my_app_x", sample: "my_app_x_total", unit: "" });
  });
});

describe("numbers", () => {
  it("have the words of the formats for what is no number", () => {
    assert.deepEqual([1 / 0, -1 / 0, 0 / 0, -0].map(valueText), ["+Inf", "-Inf", "NaN", "0"]);
  });

  it("of bounds are written as OpenMetrics' examples are", () => {
    const examples =
      "0.0 0.001 0.002 0.01 0.1 0.9 0.95 0.99 0.999 1.0 1.7 10.0 1e-10 1e-09 1e-05 0.0001 100000.0 1e+06 1e+10 +Inf";
    for (const text of examples.split(" ")) {
      assert.equal(canonicalBound(text === "+Inf" ? 1 / 0 : Number(text)), text);
    }
  });
});
