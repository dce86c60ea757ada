/** Prometheus's text as samples, for tests that look at what `/metrics` answers. */
import assert from "node:assert/strict";

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export function parseMetrics(text: string): readonly Sample[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
      assert.ok(match, `not a sample: ${line}`);
      const labels = [...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
      return {
        name: match[1] ?? "",
        labels: Object.fromEntries(labels.map(([, name, value]) => [name, value])),
        value: Number(match[3]),
      };
    });
}

/** The samples of a family that carry these labels. */
export function samplesOf(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): readonly Sample[] {
  return samples.filter(
    (it) => it.name === name && Object.entries(labels).every(([key, v]) => it.labels[key] === v),
  );
}

/** Their sum; fails if there are none. */
export function sumOf(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const found = samplesOf(samples, name, labels);
  const there = samplesOf(samples, name).map((it) => JSON.stringify(it.labels));
  assert.ok(found.length > 0, `no ${name} with ${JSON.stringify(labels)}; there are ${there}`);
  return found.reduce((total, it) => total + it.value, 0);
}
