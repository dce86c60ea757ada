import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { CliIo } from "../../../src/cli/cli-io.ts";
import { runCli } from "../../../src/cli/streamhouse.ts";

/** Runs a command line in this process, with streams of its own. */
async function run(args: readonly string[]) {
  let stdout = "";
  let stderr = "";
  const io: CliIo = {
    async *stdin() {},
    stdout: {
      closed: false,
      failure: undefined,
      async write(lines) {
        for (const line of lines) stdout += `${line}\n`;
        return lines.length;
      },
    },
    stderr: (line) => {
      stderr += `${line}\n`;
    },
    stop: new AbortController().signal,
  };
  return { code: await runCli(args, io), stdout, stderr };
}

describe("the program", () => {
  it("names its version, the package's", async () => {
    const path = new URL("../../../package.json", import.meta.url);
    const { version } = JSON.parse(readFileSync(path, "utf8"));
    assert.deepEqual(await run(["--version"]), { code: 0, stdout: `${version}\n`, stderr: "" });
  });

  it("lists every command with --help, and each command has a help of its own", async () => {
    const { code, stdout } = await run(["--help"]);
    assert.equal(code, 0);
    const commands = ["agent", "produce", "consume", "lag", "cluster"];
    const verbs = ["create", "list", "describe", "delete"].map((verb) => `topic ${verb}`);
    const group = ["list", "describe", "reset", "delete"].map((verb) => `group ${verb}`);
    const keys = ["create", "list", "revoke"].map((verb) => `keys ${verb}`);
    for (const name of [...commands, ...verbs, ...group, ...keys]) {
      assert.match(stdout, new RegExp(`^  ${name}\\b`, "m"));
      const help = await run([...name.split(" "), "--help"]);
      assert.deepEqual([help.code, help.stderr], [0, ""]);
      assert.match(help.stdout, new RegExp(`^Usage: streamhouse ${name}\\b`, "m"));
      assert.match(help.stdout, name === "agent" ? /--data DIR/ : /--agents HOST:PORT/);
    }
  });

  it("tells a failure in one line without a stack, exit code 1", async () => {
    const { code, stdout, stderr } = await run(["topic", "list", "--agents", "127.0.0.1:1"]);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^streamhouse: no agent answered; tried 127\.0\.0\.1:1 [^\n]*\n$/);
  });
});

describe("mistakes on the command line", () => {
  for (const [line, reason] of [
    ["", /no command given/],
    ["frobnicate", /unknown command "frobnicate"/],
    ["topic", /topic needs one of create, list, describe, delete/],
    ["topic frob", /"frob" is none/],
    ["topic create", /NAME is missing/],
    ["topic create a b", /unexpected argument "b"/],
    ["topic create bad/name", /topic name "bad\/name" is not valid/],
    ["topic create a --partitions 0", /--partitions is "0": use a whole number from 1 to 10000/],
    ["topic create a --partitions many", /--partitions is "many"/],
    ["topic create a --partition 3", /unknown option "--partition"/],
    ["produce", /TOPIC is missing/],
    ["produce a --acks all", /--acks is "all": use durable, buffered, none/],
    ["produce a --compression lz4", /--compression is "lz4": use none, gzip, zstd/],
    ["produce a --partition -1", /--partition is "-1"/],
    ["produce a --key-separator=", /--key-separator is empty/],
    ["consume a", /--group G is missing/],
    ["consume a --group bad/name", /group name "bad\/name" is not valid/],
    ["consume a --group g --from never", /--from is "never": use earliest, latest or an offset/],
    ["consume a --group g --max 0", /--max is "0"/],
    ["consume a --group g --format xml", /--format is "xml": use value, json/],
    ["lag", /GROUP is missing/],
    ["lag g --agents nowhere", /--agents has "nowhere"/],
    ["group", /group needs one of list, describe, reset, delete/],
    ["group describe", /GROUP is missing/],
    ["group delete bad/name", /group name "bad\/name" is not valid/],
    ["group reset g", /--to WHERE is missing/],
    ["group reset g --to yesterday", /--to is "yesterday": use earliest, latest, an offset/],
    ["group reset g --to 5 --topic bad/name", /--topic: topic name "bad\/name" is not valid/],
    ["group reset g --to 5 --partition 0", /--partition needs one --topic/],
    ["group reset g --to 5 --topic a,b --partition 0", /--partition needs one --topic/],
    ["group reset g --to 5 --topic a --partition x", /--partition has "x"/],
    ["group reset g --to 5 --execute --dry-run", /use either --execute or --dry-run/],
    ["agent", /--data DIR is missing/],
    ["agent --data=", /--data is "": name a folder/],
    ["agent --store s3://b", /--store needs --metadata URL/],
    ["agent --metadata postgres://u:secret@h/d", /--metadata needs --store URL/],
    ["agent --data d --store s3://b", /--data goes with neither --store nor --metadata/],
    ["agent --data d --agent-id a/b", /--agent-id is "a\/b"/],
    ["agent --data d --grpc nowhere", /--grpc is "nowhere": use HOST:PORT/],
    ["agent --data d --advertise here", /--advertise is "here": use HOST:PORT/],
    ["agent --data d --readiness maybe", /--readiness is "maybe"/],
    ["agent --data d --http 1:99999", /--http is "1:99999"/],
  ] as const) {
    it(`streamhouse ${line}: one clear line and exit code 2`, async () => {
      const args = line.split(" ").filter((word) => word !== "");
      const { code, stdout, stderr } = await run(args);
      assert.deepEqual([code, stdout], [2, ""]);
      assert.match(stderr, /^streamhouse: [^\n]+ \(streamhouse .*--help tells more\)\n$/);
      assert.match(stderr, reason);
    });
  }
});
