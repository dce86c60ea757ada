import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createLineOutput, type WritableLike } from "../../../src/cli/line-output.ts";

type Done = (error?: Error | null) => void;

/** A stream whose reader the test plays. */
class FakeStream implements WritableLike {
  readonly written: string[] = [];
  readonly waiting: Done[] = [];
  room = true;
  #onError: (error: Error) => void = () => {};
  #onDrain: (() => void)[] = [];

  write(chunk: Uint8Array | string, done: Done): boolean {
    this.written.push(typeof chunk === "string" ? chunk : new TextDecoder().decode(chunk));
    this.waiting.push(done);
    return this.room;
  }

  on(_event: "error", listener: (error: Error) => void): void {
    this.#onError = listener;
  }

  once(_event: "drain", listener: () => void): void {
    this.#onDrain.push(listener);
  }

  off(_event: "drain", listener: () => void): void {
    this.#onDrain = this.#onDrain.filter((it) => it !== listener);
  }

  accept(count: number): void {
    for (const done of this.waiting.splice(0, count)) done(null);
  }

  drain(): void {
    for (const listener of this.#onDrain.splice(0)) listener();
  }

  fail(code: string): void {
    const error = Object.assign(new Error(code), { code });
    for (const done of this.waiting.splice(0)) done(error);
    this.#onError(error);
  }
}

/** Lets every promise that can go on do so. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("line output", () => {
  it("writes lines with a newline each and resolves when all are accepted", async () => {
    const stream = new FakeStream();
    const writing = createLineOutput(stream).write(["a", new TextEncoder().encode("b")]);
    await settle();
    assert.deepEqual(stream.written, ["a\n", "b\n"]);
    stream.accept(2);
    assert.equal(await writing, 2);
  });

  it("gives no further line while the stream has no room", async () => {
    const stream = new FakeStream();
    stream.room = false;
    const writing = createLineOutput(stream).write(["a", "b"]);
    await settle();
    assert.deepEqual(stream.written, ["a\n"]);
    stream.room = true;
    stream.drain();
    await settle();
    assert.deepEqual(stream.written, ["a\n", "b\n"]);
    stream.accept(2);
    assert.equal(await writing, 2);
  });

  it("counts what was accepted before the reader went away, and is closed then without a failure", async () => {
    const stream = new FakeStream();
    const output = createLineOutput(stream);
    const writing = output.write(["a", "b", "c"]);
    await settle();
    stream.accept(2);
    stream.fail("EPIPE");
    assert.equal(await writing, 2);
    assert.ok(output.closed);
    assert.equal(output.failure, undefined);
    assert.equal(await output.write(["d"]), 0);
    assert.equal(stream.written.length, 3);
  });

  it("tells any other failure of the stream", async () => {
    const stream = new FakeStream();
    const output = createLineOutput(stream);
    const writing = output.write(["a"]);
    await settle();
    stream.fail("ENOSPC");
    assert.equal(await writing, 0);
    assert.match(output.failure?.message ?? "", /ENOSPC/);
  });

  it("begins no line once it is to stop, and counts those that are still accepted", async () => {
    const stream = new FakeStream();
    stream.room = false;
    const stop = new AbortController();
    const writing = createLineOutput(stream).write(["a", "b"], stop.signal);
    await settle();
    stop.abort();
    await settle();
    assert.deepEqual(stream.written, ["a\n"]);
    stream.accept(1);
    assert.equal(await writing, 1);
  });

  it("does not wait for ever for a reader that does not read once it is to stop", async () => {
    const stream = new FakeStream();
    const stop = new AbortController();
    const writing = createLineOutput(stream).write(["a"], stop.signal);
    await settle();
    stop.abort();
    assert.equal(await writing, 0);
  });
});
