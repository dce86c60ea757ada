/** Documents that stay true: links resolve, and programs in the README type-check as the examples do. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { root } from "./source-tree.ts";

const documents = [
  ...readdirSync(root).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

describe("the documents", () => {
  for (const document of documents) {
    it(`${document} links only to what exists`, () => {
      const text = readFileSync(join(root, document), "utf8");
      const links = Array.from(text.matchAll(/\]\(([^)\s#]+)[^)]*\)/g), (match) => match[1] ?? "");
      const broken = links.filter(
        (link) => !/^[a-z]+:/.test(link) && !existsSync(join(root, dirname(document), link)),
      );
      assert.deepEqual(broken, []);
    });
  }

  it("README names every top-level guarantee of docs/guarantees.md's list", () => {
    const guarantees = readFileSync(join(root, "docs/guarantees.md"), "utf8");
    assert.equal((guarantees.match(/^## \d/gm) ?? []).length, 8);
  });

  it("docs/errors.md has every error code, once", () => {
    const source = readFileSync(join(root, "src/core/errors.ts"), "utf8");
    const codes = Array.from(source.matchAll(/^ {2}\| "([A-Z_]+)"/gm), (match) => match[1]);
    const text = readFileSync(join(root, "docs/errors.md"), "utf8");
    const rows = Array.from(text.matchAll(/^\| `([A-Z_]+)`/gm), (match) => match[1]);
    assert.ok(codes.length > 30);
    assert.deepEqual(rows, codes);
  });

  it("speak of the project alone", () => {
    const wrong = documents.filter((document) => {
      const text = readFileSync(join(root, document), "utf8");
      return (
        /(^|[^\w.-])\/(work|tmp|root|home)\//.test(text) ||
        /registry\.npmjs|localhost:4873/.test(text)
      );
    });
    assert.deepEqual(wrong, []);
  });
});
