import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Line, readLines } from "../../../src/cli/line-input.ts";

async function* chunksOf(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function linesOf(text: string, sizes: readonly number[], max: number): Promise<Line[]> {
  const lines: Line[] = [];
  const chunks = chunksOf(new TextEncoder().encode(text), sizes);
  for await (const some of readLines(chunks, max)) lines.push(...some);
  return lines;
}

const textOf = (line: Line) =>
  line.bytes === undefined ? `too long ${line.length}` : new TextDecoder().decode(line.bytes);

describe("line input", () => {
  it("cuts the same lines however the bytes are chunked", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.stringMatching(/^[a-zé☃\r\t ]{0,20}$/), { maxLength: 30 }),
        fc.boolean(),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
        async (lines, newlineAtEnd, sizes) => {
          const text = lines.join("\n") + (newlineAtEnd ? "\n" : "");
          const expected = text.split("\n");
          // What follows the last newline is a line only if there is something.
          if (expected.at(-1) === "") expected.pop();
          assert.deepEqual((await linesOf(text, sizes, 1_000)).map(textOf), expected);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("keeps carriage returns and empty lines", async () => {
    assert.deepEqual((await linesOf("a\r\n\n\nb", [4], 10)).map(textOf), ["a\r", "", "", "b"]);
  });

  it("numbers lines from 1 and passes over one beyond the limit, with its length", async () => {
    const lines = await linesOf(`ab\n${"x".repeat(25)}\ncd\n${"y".repeat(11)}`, [3], 10);
    assert.deepEqual(
      lines.map((line) => [line.number, textOf(line)]),
      [
        [1, "ab"],
        [2, "too long 25"],
        [3, "cd"],
        [4, "too long 11"],
      ],
    );
  });

  it("accepts a line of exactly the limit", async () => {
    assert.deepEqual((await linesOf("0123456789\n", [4], 10)).map(textOf), ["0123456789"]);
  });
});
