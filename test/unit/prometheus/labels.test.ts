import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { collected, counter, gauge, histogram, samples, write } from "./streams.ts";

const one = (attributes: Readonly<Record<string, unknown>>) => [
  gauge({ name: "x", points: [{ attributes, value: 1 }] }),
];
const labelsOf = async (attributes: Readonly<Record<string, unknown>>) =>
  (await samples(one(attributes)))[0]?.replace(/^x(.*) 1$/s, "$1");

describe("labels", () => {
  it("escape what would end a value or a line, and nothing else", async () => {
    const value = `a\\b"c\nd\te\r{},=é💥`;
    assert.equal(await labelsOf({ value }), `{value="a\\\\b\\"c\\nd\te\r{},=é💥"}`);
  });

  it("are well-formed text whatever the value: no half surrogate pairs, no NUL", async () => {
    assert.equal(await labelsOf({ value: "a\ud800b\0c\udc00" }), '{value="a\ufffdb\ufffdc\ufffd"}');
  });

  it("hold values that are no strings as JSON", async () => {
    const values = { n: 1.5, t: true, a: ["x", "y"], u: undefined, z: null, big: 12n };
    assert.equal(
      await labelsOf(values),
      '{n="1.5",t="true",a="[\\"x\\",\\"y\\"]",u="",z="null",big="12"}',
    );
  });

  it("survive values that cannot be read", async () => {
    const circular: unknown[] = [];
    circular.push(circular);
    const hostile = {
      circular,
      symbol: Symbol("x"),
      fn: () => {},
      json: {
        toJSON() {
          throw new Error("no");
        },
      },
      get getter() {
        throw new Error("no");
      },
    };
    assert.equal(await labelsOf(hostile), '{circular="",symbol="",fn="",json="",getter=""}');
  });

  it("have names that Prometheus allows", async () => {
    assert.equal(
      await labelsOf({ "http.method": "a", "9th": "b", "": "c", __name__: "d", ä: "e" }),
      '{http_method="a",key_9th="b",_="c;e",_name_="d"}',
    );
  });

  it("of keys that become one name are joined with ; in the order of the keys", async () => {
    assert.equal(
      await labelsOf({ "a.c": "3", b: "x", a_c: "2", "a-c": "1" }),
      '{a_c="1;3;2",b="x"}',
    );
    assert.equal(await labelsOf({ a_b: "2", "a.b": "1" }), '{a_b="1;2"}');
  });

  it("named le do not disturb the buckets of a histogram, and stay as they are elsewhere", async () => {
    const attributes = { le: "mine" };
    const value = { buckets: { boundaries: [1], counts: [1, 0] }, count: 1, sum: 1 };
    assert.deepEqual(
      await samples([
        histogram({ name: "h", points: [{ attributes, value }] }),
        gauge({ name: "g", points: [{ attributes, value: 1 }] }),
      ]),
      [
        'h_count{exported_le="mine"} 1',
        'h_sum{exported_le="mine"} 1',
        'h_bucket{exported_le="mine",le="1"} 1',
        'h_bucket{exported_le="mine",le="+Inf"} 1',
        'g{le="mine"} 1',
      ],
    );
  });
});

describe("series that Prometheus cannot tell apart", () => {
  it("are added up where they count, and the latest is shown where they do not", async () => {
    const points = [
      { attributes: { "a.b": "1" }, value: 3, endTime: [5, 0] as const },
      { attributes: { a_b: "1" }, value: 4, endTime: [4, 9] as const },
      { attributes: { a_b: 1 }, value: 5, endTime: [4, 8] as const },
      { attributes: { a_b: "2" }, value: 1 },
    ];
    assert.deepEqual(
      await samples([counter({ name: "c", points }), gauge({ name: "g", points })]),
      ['c_total{a_b="1"} 12', 'c_total{a_b="2"} 1', 'g{a_b="1"} 3', 'g{a_b="2"} 1'],
    );
  });

  it("include those whose labels come in another order", async () => {
    const points = [
      { attributes: { "a.b": "1", c: "2" }, value: 3 },
      { attributes: { c: "2", d: "4" }, value: 5 },
      { attributes: { c: "2", a_b: "1" }, value: 4 },
    ];
    assert.deepEqual(await samples([counter({ name: "c", points })]), [
      'c_total{a_b="1",c="2"} 7',
      'c_total{c="2",d="4"} 5',
    ]);
  });

  it("include those with an empty value: it is as good as none", async () => {
    const points = [
      { attributes: {}, value: 1 },
      { attributes: { a: "" }, value: 2 },
      { attributes: { a: "x" }, value: 4 },
    ];
    assert.deepEqual(await samples([counter({ name: "c", points })]), [
      "c_total 3",
      'c_total{a="x"} 4',
    ]);
  });

  it("of histograms are added bucket by bucket, and one is left out, and said, where buckets differ", async () => {
    const of = (boundaries: number[], counts: number[], key: string) => ({
      attributes: { [key]: "x" },
      value: { buckets: { boundaries, counts }, count: counts[0], sum: 2 },
    });
    const points = [of([1], [2, 0], "a.b"), of([1], [3, 0], "a_b"), of([7], [1, 0], "a-b")];
    const { lines, notices } = await write([histogram({ name: "h", points })]);
    assert.deepEqual(lines.slice(1), [
      'h_count{a_b="x"} 5',
      'h_sum{a_b="x"} 4',
      'h_bucket{a_b="x",le="1"} 5',
      'h_bucket{a_b="x",le="+Inf"} 5',
    ]);
    assert.match(notices.join(), /different buckets/);
  });
});

describe("target_info", () => {
  const resource = { "service.name": 'sh"op', "telemetry.sdk.language": "nodejs", pid: 7 };
  const labels = 'service_name="sh\\"op",telemetry_sdk_language="nodejs",pid="7"';

  it("carries the resource once, as a gauge and in OpenMetrics as an info", async () => {
    assert.deepEqual((await write(collected([], resource))).lines, [
      "# HELP target_info Target metadata",
      "# TYPE target_info gauge",
      `target_info{${labels}} 1`,
    ]);
    assert.deepEqual((await write(collected([], resource), "openmetrics")).lines, [
      "# HELP target Target metadata",
      "# TYPE target info",
      `target_info{${labels}} 1`,
      "# EOF",
    ]);
  });

  it("is not there for an empty resource, and where it is not wanted", async () => {
    assert.deepEqual((await write(collected([]))).lines, []);
    assert.deepEqual(
      (await write(collected([], resource), "text", { targetInfo: false })).lines,
      [],
    );
  });
});
