/** A real process, really killed: what it acknowledged is there, in order, and the next agent goes on at once. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { decodeBatch, plainRecord } from "../../src/format/batch-decoder.ts";
import { openFolderAgent } from "./folder-agent.ts";

/** Starts the child, lets it acknowledge some records, kills it. Answers the lines it wrote. */
async function produceUntilKilled(dir: string, enough: number): Promise<readonly string[]> {
  const script = fileURLToPath(new URL("./kill-child.ts", import.meta.url));
  const run = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
  const child = spawn(process.execPath, [...run, script, dir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  let lines = 0;
  child.stdout.on("data", (chunk: Uint8Array) => {
    text += new TextDecoder().decode(chunk);
    lines = text.split("\n").length - 1;
    if (lines >= enough) child.kill("SIGKILL");
  });
  await new Promise((resolve) => child.once("close", resolve));
  assert.ok(lines >= enough, `the child ended after ${lines} records`);
  // The last line may be cut off.
  return text.split("\n").slice(0, lines);
}

async function readEverything(dir: string): Promise<readonly string[]> {
  const { agent, close } = await openFolderAgent(dir);
  const { topics } = await agent.api.listTopics({}, {});
  const topicId = topics[0]?.topicId ?? "";
  const values: string[] = [];
  for (;;) {
    const { partitions } = await agent.api.fetch(
      {
        partitions: [{ topicId, partition: 0, offset: values.length, maxBytes: 0 }],
        ...{ maxWaitMs: 0, minBytes: 1, maxBytes: 0, group: "", memberId: "", memberEpoch: 0 },
      },
      {},
    );
    const data = partitions[0];
    assert.equal(data?.error, undefined);
    if (data === undefined || data.batches.length === 0) break;
    for (const { records } of data.batches) {
      const options = { fromOffset: values.length };
      for (const it of await decodeBatch(records, plainRecord, options)) {
        assert.equal(it.offset, values.length, "offsets are contiguous");
        values.push(new TextDecoder().decode(it.value ?? new Uint8Array(0)));
      }
    }
  }
  await close();
  return values;
}

describe("an agent process that is killed (SIGKILL) while it writes", () => {
  it("has kept every record it acknowledged, at its offset, and is followed at once", async () => {
    const dir = await mkdtemp(join(tmpdir(), "streamhouse-kill-"));
    try {
      const acknowledged: string[] = [];
      for (let round = 0; round < 3; round++) {
        acknowledged.push(...(await produceUntilKilled(dir, 20)));
        const values = await readEverything(dir);
        for (const line of acknowledged) {
          const [offset, value] = line.split(" ");
          assert.equal(values[Number(offset)], value);
        }
        assert.equal(new Set(values).size, values.length, "no record is there twice");
      }
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});
