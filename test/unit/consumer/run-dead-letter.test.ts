import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deadLetterHeaders, deadLetterOf } from "../../../src/consumer/run-dead-letter.ts";
import { invalid } from "../../../src/core/errors.ts";
import { ConsumerRecord, type RecordHeader } from "../../../src/core/record.ts";
import { unavailable } from "./fake-agent.ts";
import { refused, setUp } from "./setup.ts";
import { DeadLetters } from "./work-bench.ts";

const decoder = new TextDecoder();
const bytes = (text: string) => new TextEncoder().encode(text);

function textOf(value: Uint8Array | string | null | undefined): string | undefined {
  if (value === null || value === undefined) return undefined;
  return typeof value === "string" ? value : decoder.decode(value);
}

function recordWith(headers: readonly RecordHeader[]): ConsumerRecord {
  return new ConsumerRecord("t", 3, 7, 1_234, 5_678, bytes("k"), null, headers);
}

describe("a dead letter", () => {
  it("is the record as it was, with the error and where it comes from in headers of its own", () => {
    const record = recordWith([
      ["trace", bytes("1")],
      ["trace", null],
    ]);
    const error = invalid("SCHEMA_MISMATCH", "no such field");
    const letter = deadLetterOf("dead", { record, error, attempts: 3, group: "g" });
    assert.equal(letter.topic, "dead");
    assert.equal(letter.key, record.key);
    assert.equal(letter.value, null);
    assert.deepEqual(
      letter.headers.map(([name, value]) => [name, textOf(value)]),
      [
        ["trace", "1"],
        ["trace", undefined],
        ["dead-letter-error", "SCHEMA_MISMATCH"],
        ["dead-letter-message", "no such field"],
        ["dead-letter-topic", "t"],
        ["dead-letter-partition", "3"],
        ["dead-letter-offset", "7"],
        ["dead-letter-timestamp", "1234"],
        ["dead-letter-attempts", "3"],
        ["dead-letter-group", "g"],
      ],
    );
  });

  it("does not grow with each round, nor with the error's message, and takes whatever is thrown", () => {
    const round = (error: unknown, headers: readonly RecordHeader[] = []) =>
      deadLetterOf("dead", { record: recordWith(headers), error, attempts: 1, group: undefined })
        .headers;
    const first = round(new TypeError("x".repeat(5_000)));
    const again = round(
      "just text",
      first.map(([name, value]) => [name, bytes(textOf(value) ?? "")] as const),
    );
    assert.equal(again.length, first.length);
    const of = (headers: typeof first, name: string) =>
      textOf(headers.find((it) => it[0] === name)?.[1]);
    assert.equal(of(first, deadLetterHeaders.error), "TypeError");
    assert.equal(of(first, deadLetterHeaders.message)?.length, 1_024);
    assert.equal(of(again, deadLetterHeaders.message), "just text");
    assert.equal(of(again, deadLetterHeaders.group), undefined);
    const astral = of(round(new Error(`${"x".repeat(1_023)}😀`)), deadLetterHeaders.message) ?? "";
    assert.ok(astral.isWellFormed());
    const hostile = {
      get name(): string {
        throw new Error("name");
      },
      toString(): string {
        throw new Error("text");
      },
    };
    for (const thrown of [undefined, null, 7, hostile]) assert.equal(round(thrown).length, 7);
  });
});

describe("a run with a dead-letter topic", () => {
  const poison = () => {
    throw new Error("poison");
  };

  it("finishes a record that was given up when its dead letter is durable, not before", async () => {
    const { agent, clock, open, until } = setUp();
    agent.createTopic("t");
    agent.createTopic("dead");
    await agent.append("t", ["v0", "v1"]);
    const dead = new DeadLetters();
    const gate = Promise.withResolvers<void>();
    dead.gate = gate.promise;
    const consumer = open({ autoCommitIntervalMs: 100 }, { deadLetters: dead.source });
    const options = { deadLetterTopic: "dead", retry: { attempts: 2, baseMs: 10 } };
    const done = consumer.run((record) => {
      if (record.text() === "v0") poison();
    }, options);
    await clock.run(5_000);
    assert.equal(agent.groups.committed("t"), 0);
    gate.resolve();
    await clock.run(1_000);
    assert.equal(agent.groups.committed("t"), 2);
    assert.equal(dead.letters.length, 1);
    await until(consumer.close());
    await done;
    assert.equal(dead.made, 1);
    assert.equal(dead.closed, 1);
  });

  it("ends when a dead letter cannot be written, and leaves its record uncommitted", async () => {
    const { agent, open, until, warnings } = setUp();
    agent.createTopic("t");
    agent.createTopic("dead");
    await agent.append("t", ["v0"]);
    const dead = new DeadLetters();
    dead.faults.push(unavailable("nobody there"));
    const consumer = open({}, { deadLetters: dead.source });
    const options = { deadLetterTopic: "dead", retry: { attempts: 1 } };
    await refused(until(consumer.run(poison, options)), "AGENT_UNREACHABLE");
    assert.equal(agent.groups.committed("t"), 0);
    assert.ok(warnings.some((it) => it.fields?.reason === "nobody there"));
    const stop = new AbortController();
    const again = consumer.run(poison, { ...options, signal: stop.signal });
    void dead.gate;
    await until(
      (async () => {
        while (dead.letters.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
        stop.abort();
        await again;
      })(),
    );
    assert.equal(agent.groups.committed("t"), 1);
    await until(consumer.close());
  });

  it("does not begin if the topic does not exist, is read by the consumer itself, or nobody can write it", async () => {
    const { agent, open, until } = setUp();
    agent.createTopic("t");
    agent.createTopic("dead");
    await agent.append("t", ["v0"]);
    const dead = new DeadLetters();
    const consumer = open({}, { deadLetters: dead.source });
    let calls = 0;
    const run = (deadLetterTopic: string) =>
      until(consumer.run(() => void calls++, { deadLetterTopic }));
    await refused(run("missing"), "TOPIC_NOT_FOUND");
    await refused(run("t"), "INVALID_ARGUMENT");
    await refused(run("no/name"), "INVALID_TOPIC_NAME");
    assert.equal(calls, 0);
    await until(consumer.close());
    assert.equal(dead.made, 0);
    const alone = open();
    await refused(until(alone.run(poison, { deadLetterTopic: "dead" })), "NOT_SUPPORTED");
    await until(alone.close());
  });
});
