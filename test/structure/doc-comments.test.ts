/** What users import says what it is: every name that a door exports has a doc comment where it is declared. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { resolveImport, sourceFiles } from "./source-tree.ts";

const files = sourceFiles();
const doors = files.filter((file) => /^src\/[^/]+\.ts$/.test(file.path));
const EXPORTS = /export (?:type )?\{([^}]*)\} from "([^"]+)"/g;

/** Pairs of a name and the file that declares it, as a door lists them. */
const exported = doors.flatMap((door) =>
  Array.from(door.text.matchAll(EXPORTS), ([, names = "", from = ""]) =>
    names
      .split(",")
      .map((name) => name.trim().replace(/^type /, ""))
      .filter((name) => name !== "")
      .map((name) => [name, resolveImport(door, from) ?? from] as const),
  ).flat(),
);

describe("what the doors export", () => {
  it("is found by this test", () => {
    assert.equal(doors.length, 9);
    assert.ok(exported.length > 100, `${exported.length} names`);
  });

  it("has a doc comment at its declaration", () => {
    const bare = exported.filter(([name, path]) => {
      const kinds = "(?:abstract )?(?:interface|type|class|function|async function|const)";
      // A room may pass on what another one of its wing declares.
      const wing = path.slice(0, path.lastIndexOf("/") + 1);
      const documented = new RegExp(`\\*/\\nexport ${kinds} ${name}\\b`);
      return !files.some((file) => file.path.startsWith(wing) && documented.test(file.text));
    });
    assert.deepEqual(bare, []);
  });
});
