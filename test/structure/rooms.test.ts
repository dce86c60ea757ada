/** House rules that a program can check: room sizes, names, doors, ports, and what the project says of itself. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { root, type SourceFile, sourceFiles, wingOf } from "./source-tree.ts";

const LINES_MAX = 350;
const COLUMNS_MAX = 100;

/** Rooms where the runtime comes in. Everywhere else clocks, randomness, files and `process` are ports. */
const edges: readonly RegExp[] = [
  /^src\/core\/(clock|ids|secret-hash)\.ts$/,
  /^src\/format\/(compression|crc32c)\.ts$/,
  /^src\/storage\/(folder[a-z-]*|s3-body)\.ts$/,
  /^src\/metadata\/sqlite[a-z-]*\.ts$/,
  /^src\/metadata\/postgres-lane\.ts$/,
  /^src\/rpc\/(channel|[a-z0-9]+-gate)\.ts$/,
  /^src\/client\/grpc-[a-z-]+\.ts$/,
  /^src\/telemetry\/bootstrap[a-z-]*\.ts$/,
  /^src\/http\/listen\.ts$/,
  /^src\/(serve|cli|testing)\//,
  /^src\/cli\.ts$/,
];

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");
}

describe("the rooms of src", () => {
  const files = sourceFiles();
  const failing = (wrong: (file: SourceFile) => boolean): string[] =>
    files.filter(wrong).map((file) => file.path);

  it(`have at most ${LINES_MAX} lines`, () => {
    const long = files
      .map((file) => [file.text.split("\n").length - 1, file.path] as const)
      .filter(([lines]) => lines > LINES_MAX);
    assert.deepEqual(long, []);
  });

  it(`have lines of at most ${COLUMNS_MAX} columns of code`, () => {
    const wide = files.flatMap((file) =>
      file.text
        .split("\n")
        .map((line, i) => [`${file.path}:${i + 1}`, line] as const)
        .filter(([, line]) => line.length > COLUMNS_MAX && !/^\s*(\*|\/\*\*|\/\/)/.test(line))
        .filter(([, line]) => !/["'`].{60,}/.test(line))
        .map(([where]) => where),
    );
    assert.deepEqual(wide, []);
  });

  it("are named for their noun", () => {
    assert.deepEqual(
      failing((file) => /\/(types|utils?|common|helpers?|misc|lib)\.ts$/.test(file.path)),
      [],
    );
    assert.deepEqual(
      failing((file) => !/^src(\/[a-z0-9-]+)+\.ts$/.test(file.path)),
      [],
    );
  });

  it("list what they export: no `export *`, no default export", () => {
    assert.deepEqual(
      failing((file) => /^export\s+(\*|default\b)/m.test(file.text)),
      [],
    );
  });

  it("say in their first lines what they are for", () => {
    assert.deepEqual(
      failing((file) => !/^(#!.*\n)?\s*\/\*\*/.test(file.text)),
      [],
    );
  });

  it("meet the runtime only at the edges", () => {
    const runtime =
      /\b(process\.(env|exit|argv|on|stdout)|Math\.random\(|Date\.now\(|performance\.now\(|setTimeout\(|setInterval\()/;
    const inside = files.filter((file) => !edges.some((edge) => edge.test(file.path)));
    const wrong = inside.filter((file) => {
      return (
        runtime.test(withoutComments(file.text)) ||
        file.imports.some((specifier) => specifier.startsWith("node:"))
      );
    });
    assert.deepEqual(
      wrong.map((file) => file.path),
      [],
    );
  });

  it("have no any, no suppressed types, no marks left to settle", () => {
    const marks = /\b(TODO|FIXME|XXX|HACK)\b|@ts-ignore|@ts-nocheck/;
    const any = /: any\b|\bas any\b/;
    assert.deepEqual(
      failing((file) => marks.test(file.text) || any.test(withoutComments(file.text))),
      [],
    );
  });

  it("name SDK types only in the bootstrap, the metric producer and the Prometheus reader", () => {
    const sdk = /^@opentelemetry\/(sdk|exporter|otlp|resources|context-async-hooks|core)/;
    const wrong = files.filter(
      (file) =>
        file.imports.some((specifier) => sdk.test(specifier)) &&
        !/^src\/(telemetry\/(bootstrap|metric-producer)|prometheus\/reader\.ts)/.test(file.path),
    );
    assert.deepEqual(
      wrong.map((file) => file.path),
      [],
    );
  });

  it("doors hold lists only", () => {
    const doors = files.filter((file) => wingOf(file.path) === "doors");
    const wrong = doors.filter((file) => /^(export )?(async )?(function|class)\b/m.test(file.text));
    assert.deepEqual(
      wrong.map((file) => file.path),
      [],
    );
  });
});

describe("package.json and jsr.json", () => {
  const read = (name: string) => JSON.parse(readFileSync(join(root, name), "utf8"));
  const npm = read("package.json");
  const jsr = read("jsr.json");

  it("carry the same name, version, licence and doors", () => {
    assert.equal(jsr.name, npm.name);
    assert.equal(jsr.version, npm.version);
    assert.equal(jsr.license, npm.license);
    const doors = Object.keys(npm.exports).filter((door) => door !== "./package.json");
    assert.deepEqual(Object.keys(jsr.exports).sort(), doors.sort());
  });

  it("point each door at the same room", () => {
    for (const [door, source] of Object.entries(jsr.exports as Record<string, string>)) {
      const room = source.replace("./src/", "").replace(".ts", "");
      assert.equal(npm.exports[door].default, `./dist/${room}.js`);
      assert.equal(npm.exports[door].types, `./dist/${room}.d.ts`);
    }
  });

  it("agree on the dependencies and pin every one exactly", () => {
    for (const [name, version] of Object.entries(npm.dependencies as Record<string, string>)) {
      assert.match(version, /^\d+\.\d+\.\d+$/, name);
      assert.equal(jsr.imports[name], `npm:${name}@${version}`, name);
    }
    for (const [name, version] of Object.entries(npm.devDependencies as Record<string, string>)) {
      assert.match(version, /^\d+\.\d+\.\d+$/, name);
    }
  });

  it("lock one copy of each OpenTelemetry package, without download addresses", () => {
    const lock = read("package-lock.json");
    const copies = Object.keys(lock.packages).filter((path) =>
      /node_modules\/@opentelemetry\/[^/]+$/.test(path),
    );
    assert.deepEqual(
      copies.filter((path) => path.lastIndexOf("node_modules/") > 0),
      [],
    );
    assert.equal(JSON.stringify(lock).includes('"resolved"'), false);
  });
});
