import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  Arguments,
  type CommandSpec,
  parseArguments,
  quote,
  UsageError,
} from "../../../src/cli/arguments.ts";

const spec: CommandSpec = {
  name: "thing do",
  summary: "Do the thing",
  positionals: ["NAME"],
  options: {
    count: { value: "N", help: "how many", fallback: "3" },
    where: { value: "HOST:PORT", help: "where" },
    mode: { value: "MODE", help: "how" },
    json: { help: "print JSON" },
  },
};

function parse(...argv: string[]): Arguments {
  const parsed = parseArguments(spec, argv);
  assert.ok(parsed instanceof Arguments);
  return parsed;
}

function mistake(...argv: string[]): string {
  try {
    parseArguments(spec, argv);
  } catch (error) {
    assert.ok(error instanceof UsageError);
    assert.equal(error.command, "thing do");
    return error.message;
  }
  return assert.fail("it was accepted");
}

describe("arguments", () => {
  it("takes --name value and --name=value, switches, and words in any order", () => {
    const args = parse("--count", "7", "orders", "--mode=a=b", "--json");
    assert.equal(args.positional(0), "orders");
    assert.equal(args.whole("count", 1, 10), 7);
    assert.equal(args.value("mode"), "a=b");
    assert.ok(args.has("json"));
  });

  it("repeats no key and no password that was written where something else belongs", () => {
    const key = `sh_${"a".repeat(12)}_${"S".repeat(43)}`;
    const url = "postgres://me:Secret/of@mine@db.internal/shop";
    for (const text of [key, `--api-key=${key}`, `Bearer ${key}`, url, `--metadata=${url}`]) {
      assert.doesNotMatch(quote(text), /SS|Secret|mine/, text.slice(0, 10));
      assert.match(quote(text), /sh_a{12}_…|postgres:\/\/me:…@db\.internal/);
    }
    assert.doesNotMatch(mistake(`--api-key=${key}`), /SS/);
    assert.doesNotMatch(mistake("a", key), /SS/);
    assert.equal(quote("orders.sh_a"), '"orders.sh_a"');
  });

  it("uses the fallback where an option is not given, and tells absent ones", () => {
    const args = parse("orders");
    assert.equal(args.whole("count", 1, 10), 3);
    assert.equal(args.value("mode"), undefined);
    assert.equal(args.address("where", 0), undefined);
    assert.equal(args.has("json"), false);
  });

  it("takes everything after -- as words, and a lone - as a word", () => {
    assert.equal(parse("--", "--json").positional(0), "--json");
    assert.equal(parse("-").positional(0), "-");
  });

  it("answers help whatever else is wrong, but not after --", () => {
    assert.equal(parseArguments(spec, ["--nonsense", "--help"]), "help");
    assert.equal(parseArguments(spec, ["-h"]), "help");
    assert.notEqual(parseArguments(spec, ["--", "--help"]), "help");
  });

  it("refuses what it does not know, naming it", () => {
    assert.equal(mistake("orders", "--jsn"), 'unknown option "--jsn"');
    assert.equal(mistake("orders", "-j"), 'unknown option "-j"');
    assert.equal(mistake("orders", "--toString"), 'unknown option "--toString"');
    assert.equal(mistake("orders", "more"), 'unexpected argument "more"');
  });

  it("refuses missing words and values, doubled options, and a value for a switch", () => {
    assert.equal(mistake(), "NAME is missing");
    assert.equal(mistake("orders", "--count"), "--count needs a value, N");
    assert.equal(
      mistake("orders", "--mode", "--json"),
      '--mode needs a value, MODE; write --mode=--json if "--json" is the value',
    );
    assert.equal(mistake("orders", "--count", "1", "--count", "2"), "--count is given twice");
    assert.equal(mistake("orders", "--json=yes"), "--json takes no value");
  });

  it("names a required option that is missing", () => {
    const strict = { ...spec, options: { data: { value: "DIR", help: "where", required: true } } };
    assert.throws(() => parseArguments(strict, ["x"]), { message: "--data DIR is missing" });
  });

  it("reads whole numbers within their bounds only", () => {
    for (const wrong of ["0", "11", "-1", "1.5", "1e1", "", " 2", "0x2", "99999999999999999999"]) {
      assert.throws(() => parse("orders", `--count=${wrong}`).whole("count", 1, 10), UsageError);
    }
  });

  it("reads addresses with names, IPv4 and bracketed IPv6, and refuses others", () => {
    for (const right of ["localhost:7070", "127.0.0.1:0", "[::1]:80", "a-b.example:65535"]) {
      assert.equal(parse("orders", `--where=${right}`).address("where", 0), right);
    }
    for (const wrong of [
      "localhost",
      ":7070",
      "a:b",
      "::1:80",
      "a:65536",
      "http://a:1",
      "a:1,b:2",
    ]) {
      assert.throws(() => parse("orders", `--where=${wrong}`).address("where", 0), UsageError);
    }
    assert.deepEqual(parse("x", "--where=a:1, b:2").addresses("where"), ["a:1", "b:2"]);
    assert.throws(() => parse("x", "--where=a:1,,b:2").addresses("where"), UsageError);
    assert.throws(() => parse("x", "--where=a:0").addresses("where"), UsageError);
  });

  it("reads one of a few words, and lists them when it is another", () => {
    assert.equal(parse("x", "--mode=fast").oneOf("mode", ["slow", "fast"]), "fast");
    assert.throws(() => parse("x", "--mode=FAST").oneOf("mode", ["slow", "fast"]), {
      message: '--mode is "FAST": use slow, fast',
    });
  });

  it("shows a long or hostile value cut and escaped", () => {
    const message = mistake("x", `--${"\n\u001b[31m".repeat(50)}`);
    assert.ok(message.length < 500);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be left
    assert.doesNotMatch(message, /[\u0000-\u001f]/);
  });
});
