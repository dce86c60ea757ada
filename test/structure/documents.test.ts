/** Documents that stay true: links resolve, and programs in the README type-check as the examples do. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { anchorOf } from "./monitoring.ts";
import { root } from "./source-tree.ts";

const documents = [
  ...readdirSync(root).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
  "bench/README.md",
  "examples/exactly-once/README.md",
  "examples/observability/README.md",
];

const read = (document: string): string => readFileSync(join(root, document), "utf8");

/** A link of `document` that leads nowhere: to no file, or to no heading of it. */
function isBroken(document: string, path: string, anchor: string): boolean {
  if (/^[a-z]+:/.test(path)) return false;
  const target = path === "" ? document : join(dirname(document), path);
  if (!existsSync(join(root, target))) return true;
  if (anchor === "") return false;
  const text = read(target).replace(/^```[\s\S]*?^```/gm, "");
  const anchors = Array.from(text.matchAll(/^#+ (.+)$/gm), ([, title = ""]) => anchorOf(title));
  return !anchors.includes(anchor);
}

describe("the documents", () => {
  for (const document of documents) {
    it(`${document} links only to files and headings that exist`, () => {
      const links = read(document).matchAll(/\]\(([^)\s#]*)#?([^)\s]*)[^)]*\)/g);
      const broken = Array.from(links)
        .filter(([, path = "", anchor = ""]) => isBroken(document, path, anchor))
        .map(([link]) => link);
      assert.deepEqual(broken, []);
    });
  }

  it("docs/guarantees.md numbers its eight guarantees", () => {
    const guarantees = read("docs/guarantees.md");
    assert.equal((guarantees.match(/^## \d/gm) ?? []).length, 8);
  });

  it("docs/errors.md has every error code, once", () => {
    const source = readFileSync(join(root, "src/core/errors.ts"), "utf8");
    const codes = Array.from(source.matchAll(/^ {2}\| "([A-Z_]+)"/gm), (match) => match[1]);
    const text = read("docs/errors.md");
    const rows = Array.from(text.matchAll(/^\| `([A-Z_]+)`/gm), (match) => match[1]);
    assert.ok(codes.length > 30);
    assert.deepEqual(rows, codes);
  });

  it("speak of the project alone", () => {
    const wrong = documents.filter((document) => {
      const text = read(document);
      return (
        /(^|[^\w.-])\/(work|tmp|root|home)\//.test(text) ||
        /registry\.npmjs|localhost:4873/.test(text)
      );
    });
    assert.deepEqual(wrong, []);
  });
});
