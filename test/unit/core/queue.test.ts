import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Queue } from "../../../src/core/queue.ts";

describe("Queue", () => {
  it("gives back what was put in, in the same order, as an array would", () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.nat(), { nil: undefined }), { maxLength: 5_000 }),
        (ops) => {
          const queue = new Queue<number>();
          const model: number[] = [];
          for (const op of ops) {
            if (op === undefined) assert.equal(queue.shift(), model.shift());
            else {
              queue.push(op);
              model.push(op);
            }
            assert.equal(queue.length, model.length);
            assert.equal(queue.peek(), model[0]);
          }
        },
      ),
    );
  });

  it("keeps its order when the emptied front is let go of", () => {
    const queue = new Queue<number>();
    for (let i = 0; i < 5_000; i++) queue.push(i);
    for (let i = 0; i < 4_999; i++) assert.equal(queue.shift(), i);
    queue.push(5_000);
    assert.equal(queue.length, 2);
    assert.deepEqual([queue.shift(), queue.shift(), queue.shift()], [4_999, 5_000, undefined]);
  });
});
