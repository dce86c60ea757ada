/** The package graph: imports go to a lower level or stay in the wing, and there are no cycles. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { resolveImport, sourceFiles, wingOf } from "./source-tree.ts";

/** Wings by level. A wing may import what has a lower number, and itself. */
const levels: Readonly<Record<string, number>> = {
  core: 0,
  format: 1,
  prometheus: 1,
  telemetry: 2,
  rpc: 3,
  storage: 4,
  metadata: 4,
  client: 4,
  producer: 5,
  agent: 5,
  consumer: 5,
  house: 6,
  http: 6,
  serve: 7,
  testing: 8,
  cli: 8,
  doors: 9,
};

describe("the wings of src", () => {
  const files = sourceFiles();

  it("each have a level", () => {
    const unknown = new Set(files.map((file) => wingOf(file.path)).filter((w) => !(w in levels)));
    assert.deepEqual([...unknown], []);
  });

  it("import downwards only", () => {
    const wrong: string[] = [];
    for (const file of files) {
      const wing = wingOf(file.path);
      for (const specifier of file.imports) {
        const target = resolveImport(file, specifier);
        if (target === undefined) continue;
        const other = wingOf(target);
        const up = (levels[other] ?? 99) >= (levels[wing] ?? 0);
        if (other !== wing && up) wrong.push(`${file.path} imports ${target}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  it("have no import cycles", () => {
    const graph = new Map(
      files.map((file) => [
        file.path,
        file.imports.flatMap((specifier) => resolveImport(file, specifier) ?? []),
      ]),
    );
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (path: string, trail: readonly string[]): void => {
      const at = trail.indexOf(path);
      if (at >= 0) {
        cycles.push([...trail.slice(at), path].join(" -> "));
        return;
      }
      if (done.has(path)) return;
      for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
      done.add(path);
    };
    for (const path of graph.keys()) visit(path, []);
    assert.deepEqual(cycles, []);
  });
});
