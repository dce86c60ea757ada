/**
 * What broke: `streamhouse consume` did not end at Ctrl-C while its agent was gone and something was not committed yet: the last
 * commit was tried again until its own time limit. Meanwhile the log wrote the same lines again and again.
 * What cures it: after the signal a commit gets a few seconds; a repeated log message is written once in half a minute.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { cli, startAgent, startCli } from "../integration/child.ts";

describe("Ctrl-C while the agent is gone", () => {
  it("ends consume, which says what it could not commit, and says the outage once", async () => {
    const data = await mkdtemp(join(tmpdir(), "streamhouse-outage-"));
    const agent = await startAgent(data);
    const agents = ["--agents", agent.grpc];
    await cli(["topic", "create", "t", ...agents]);
    await using consumer = startCli(["consume", "t", "--group", "g", ...agents]);
    await cli(["produce", "t", ...agents], "one\n");
    await consumer.says("the record", (out) => out.includes("one"));
    await agent.child.end("SIGKILL");
    const { code, stderr } = await consumer.end("SIGINT");
    // Its commit of every second may just have come through.
    if (code !== 0) assert.match(stderr, /could not commit .* will be read again/);
    assert.ok((stderr.match(/a heartbeat failed/g) ?? []).length <= 1, stderr);
    assert.doesNotMatch(stderr, /TimeoutNegativeWarning|\n\s+at /);
    await rm(data, { recursive: true, force: true });
  });
});
