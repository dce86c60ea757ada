/** The command line as scripts see it: exact output, exit codes, back-pressure, signals. Each test has an agent of its own process. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type AgentProcess, cli, eventually, startAgent, startCli } from "./child.ts";

interface LagRow {
  readonly topic: string;
  readonly partition: number;
  readonly committed: number | null;
  readonly highWatermark: number;
  readonly lagRecords: number;
  readonly lagSeconds: number;
}

let data: string;
let agent: AgentProcess;

const run = (args: string, input?: string | Uint8Array) =>
  cli([...args.split(" "), "--agents", agent.grpc], input);

async function createTopic(name: string, partitions = 1): Promise<void> {
  const { code, stderr } = await run(`topic create ${name} --partitions ${partitions}`);
  assert.equal(code, 0, stderr);
}

async function produce(topic: string, lines: readonly string[], more = ""): Promise<void> {
  const { code, stderr } = await run(`produce ${topic}${more}`, `${lines.join("\n")}\n`);
  assert.equal(code, 0, stderr);
}

async function lagOf(group: string): Promise<readonly LagRow[]> {
  const { code, stdout, stderr } = await run(`lag ${group} --json`);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as LagRow[];
}

const committedOf = async (group: string) =>
  (await lagOf(group)).reduce((sum, row) => sum + (row.committed ?? 0), 0);

const linesOf = (text: string) => text.split("\n").slice(0, -1);

/** A consumer of a full topic whose reader reads nothing; resolves when the pipe is full and it stands still. */
async function startSlowReader(topic: string) {
  await createTopic(topic, 1);
  const total = 60_000;
  await produce(
    topic,
    Array.from({ length: total }, (_, i) => `${i} ${"y".repeat(100)}`),
  );
  const args = ["consume", topic, "--group", topic, "--exit-at-end", "--agents", agent.grpc];
  const consumer = startCli(args, { holdStdout: true });
  let before = -1;
  await eventually("the consumer to stand still", async () => {
    const { code, stdout } = await run(`lag ${topic} --json`);
    if (code !== 0) return false;
    const rows = JSON.parse(stdout) as LagRow[];
    const committed = rows.reduce((sum, row) => sum + (row.committed ?? 0), 0);
    const still = committed === before;
    before = committed;
    return still;
  });
  assert.ok(before < total, "it wrote everything although nobody read");
  let text = "";
  const readOn = () => {
    consumer.process.stdout.on("data", (part: Uint8Array) => {
      text += new TextDecoder().decode(part);
    });
  };
  return { consumer, total, readOn, lines: () => linesOf(text) };
}

before(async () => {
  data = await mkdtemp(join(tmpdir(), "streamhouse-cli-"));
  agent = await startAgent(data);
});

after(async () => {
  await agent.child.end();
  await rm(data, { recursive: true, force: true });
});

describe("streamhouse agent", () => {
  it("says in one JSON line where it serves, and answers there", async () => {
    assert.match(agent.child.stdout, /^\{"event":"ready",.*\}\n$/);
    const ready = JSON.parse(agent.child.stdout) as object;
    assert.deepEqual(Object.keys(ready), ["event", "grpc", "http", "agentId"]);
    assert.match(agent.child.stderr, /HTTP endpoint listens/, "logs go to standard error");
    assert.match(agent.grpc, /^127\.0\.0\.1:[1-9]\d*$/);
    assert.match(agent.http, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
    assert.ok(agent.agentId.length > 0);
    assert.equal((await fetch(`${agent.http}/health`)).status, 200);
    const metrics = await fetch(`${agent.http}/metrics`);
    assert.equal(metrics.status, 200);
    assert.match(await metrics.text(), /streamhouse_lease_renewals_total/);
  });

  it("tells clients the address of --advertise, and is ready without leases with --readiness standby", async () => {
    const folder = await mkdtemp(join(tmpdir(), "streamhouse-cli-"));
    const more = ["--advertise", "agent.example:7070", "--readiness", "standby"];
    const { child, grpc, http } = await startAgent(folder, "127.0.0.1:0", more);
    assert.equal((await fetch(`${http}/ready`)).status, 200);
    const created = await cli(["topic", "create", "told", "--agents", grpc]);
    assert.equal(created.code, 0, created.stderr);
    const listed = await cli(["topic", "describe", "told", "--json", "--agents", grpc]);
    assert.match(listed.stdout, /"agent":"agent\.example:7070"/);
    assert.equal((await child.end("SIGTERM")).code, 0);
    await rm(folder, { recursive: true, force: true });
  });

  it("drains and exits with 0 at SIGTERM and at SIGINT", async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const other = await mkdtemp(join(tmpdir(), "streamhouse-cli-"));
      const { child } = await startAgent(other);
      const { code, stdout } = await child.end(signal);
      assert.equal(code, 0, child.stderr);
      assert.equal(linesOf(stdout).length, 1);
      await rm(other, { recursive: true, force: true });
    }
  });
});

describe("streamhouse topic", () => {
  it("creates, lists, describes and deletes", async () => {
    await createTopic("topics-a", 3);
    const list = await run("topic list");
    assert.match(list.stdout, /^topics-a +3$/m);
    const listed = JSON.parse((await run("topic list --json")).stdout) as { name: string }[];
    assert.ok(listed.some((topic) => topic.name === "topics-a"));
    const described = await run("topic describe topics-a");
    assert.match(described.stdout, /^ +2 +0 +0 +127\.0\.0\.1:\d+$/m);
    const json = JSON.parse((await run("topic describe topics-a --json")).stdout);
    assert.equal(json.partitions.length, 3);
    assert.equal(json.partitions[0].agent, agent.grpc);
    assert.equal((await run("topic delete topics-a")).code, 0);
    const gone = await run("topic describe topics-a");
    assert.equal(gone.code, 1);
    assert.match(gone.stderr, /^streamhouse: topic "topics-a" does not exist.*\n$/);
  });

  it("refuses a second topic of the name, with exit code 1", async () => {
    await createTopic("topics-b");
    const { code, stderr } = await run("topic create topics-b");
    assert.equal(code, 1);
    assert.match(stderr, /topics-b exists already/);
  });
});

describe("streamhouse produce and consume", () => {
  it("carry lines byte for byte, with keys before the separator", async () => {
    await createTopic("lines", 1);
    const bytes = new Uint8Array([0x6b, 0x3d, 0xff, 0x00, 0xfe, 0x0a, 0x3d, 0x0a, 0x0a, 0x78]);
    const { code, stderr } = await run("produce lines --key-separator =", bytes);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^streamhouse: sent 4 records to lines\n$/);
    const { stdout } = await run("consume lines --group lines --exit-at-end --format json");
    const rows = linesOf(stdout).map((line) => JSON.parse(line));
    assert.deepEqual(
      rows.map(({ key, value }) => [key, value]),
      [
        ["k", btoa("\xff\x00\xfe")],
        ["", ""],
        [null, ""],
        [null, "x"],
      ],
    );
    assert.deepEqual(rows[0].base64, ["value"]);
    assert.deepEqual(Object.keys(rows[3]), [
      "topic",
      "partition",
      "offset",
      "timestamp",
      "key",
      "value",
      "headers",
    ]);
    assert.deepEqual([rows[3].topic, rows[3].partition, rows[3].offset], ["lines", 0, 3]);
    assert.ok(Math.abs(rows[3].timestamp - Date.now()) < 3_600_000);
  });

  it("keep to --partition, --acks and --compression", async () => {
    await createTopic("options", 3);
    const numbers = Array.from({ length: 50 }, (_, i) => String(i));
    await produce("options", numbers, " --partition 2 --compression zstd");
    await produce("options", numbers, " --partition 1 --compression gzip --acks buffered");
    await produce("options", numbers, " --partition 0 --acks none");
    const { stdout } = await run("consume options --group options --format json --max 150");
    const rows = linesOf(stdout).map((line) => JSON.parse(line));
    for (const partition of [0, 1, 2]) {
      const values = rows.filter((row) => row.partition === partition).map((row) => row.value);
      assert.deepEqual(values, numbers);
    }
  });

  it("commit exactly what was written with --max, and go on from there", async () => {
    await createTopic("max", 2);
    await produce(
      "max",
      Array.from({ length: 100 }, (_, i) => `${i}`),
    );
    const first = await run("consume max --group max --max 30");
    assert.equal(linesOf(first.stdout).length, 30);
    assert.equal(await committedOf("max"), 30);
    const rest = await run("consume max --group max --exit-at-end");
    assert.equal(linesOf(rest.stdout).length, 70);
    const all = [...linesOf(first.stdout), ...linesOf(rest.stdout)].map(Number);
    assert.deepEqual(
      all.sort((a, b) => a - b),
      Array.from({ length: 100 }, (_, i) => i),
    );
    for (const row of await lagOf("max"))
      assert.deepEqual([row.lagRecords, row.lagSeconds], [0, 0]);
  });

  it("begin where --from says, but only where the group has no commit", async () => {
    await createTopic("from", 1);
    await produce("from", ["0", "1", "2", "3", "4"]);
    const at3 = await run("consume from --group from --from 3 --exit-at-end");
    assert.deepEqual(linesOf(at3.stdout), ["3", "4"]);
    const again = await run("consume from --group from --from earliest --exit-at-end");
    assert.deepEqual([again.code, again.stdout], [0, ""]);
    const latest = await run("consume from --group from-latest --from latest --exit-at-end");
    assert.deepEqual([latest.code, latest.stdout], [0, ""]);
    const earliest = await run("consume from --group from-earliest --exit-at-end");
    assert.deepEqual(linesOf(earliest.stdout), ["0", "1", "2", "3", "4"]);
  });

  it("commit where they began also in partitions without a record, so that nothing later is missed or out of the lag", async () => {
    await createTopic("starts", 2);
    await produce("starts", ["a", "b"], " --partition 0");
    const args = "consume starts --group starts --from latest --exit-at-end";
    assert.deepEqual((await run(args)).stdout, "");
    await produce("starts", ["c"], " --partition 0");
    await produce("starts", ["d", "e"], " --partition 1");
    const lags = (await lagOf("starts")).map((row) => [row.committed, row.lagRecords]);
    assert.deepEqual(lags, [
      [2, 1],
      [0, 2],
    ]);
    assert.deepEqual(linesOf((await run(args)).stdout).sort(), ["c", "d", "e"]);
  });

  it("stop at the end at once where a topic is empty", async () => {
    await createTopic("empty", 4);
    const { code, stdout } = await run("consume empty --group empty --exit-at-end");
    assert.deepEqual([code, stdout], [0, ""]);
  });

  it("deliver what is produced while it waits, and commit it at SIGTERM with exit code 0", async () => {
    await createTopic("tail", 2);
    const consumer = startCli(["consume", "tail", "--group", "tail", "--agents", agent.grpc]);
    await produce("tail", ["a", "b", "c"]);
    await consumer.says("three records", (out) => linesOf(out).length === 3);
    const { code, stdout } = await consumer.end("SIGTERM");
    assert.equal(code, 0, consumer.stderr);
    assert.deepEqual(linesOf(stdout).sort(), ["a", "b", "c"]);
    assert.equal(await committedOf("tail"), 3);
  });

  it("commit no more than a reader took that closed the pipe, and no less than it was given", async () => {
    await createTopic("pipe", 1);
    await produce(
      "pipe",
      Array.from({ length: 20_000 }, (_, i) => `${i} ${"x".repeat(100)}`),
    );
    const args = ["consume", "pipe", "--group", "pipe", "--agents", agent.grpc];
    const consumer = startCli(args, { holdStdout: true });
    const [chunk] = (await once(consumer.process.stdout, "data")) as [Uint8Array];
    consumer.process.stdout.destroy();
    const { code } = await consumer.finished();
    assert.equal(code, 0, consumer.stderr);
    assert.equal(consumer.stderr, "");
    const read = linesOf(new TextDecoder().decode(chunk)).length;
    const committed = await committedOf("pipe");
    assert.ok(committed >= read, `${committed} committed, ${read} read`);
    assert.ok(committed < 20_000, "everything was committed although nobody read it");
    // What follows is the first record that was not accepted: nothing is lost between the two.
    const next = await run("consume pipe --group pipe --max 1 --format json");
    assert.equal(JSON.parse(next.stdout).offset, committed);
  });

  it("do not run ahead of a reader that stands still, and go on when it does", async () => {
    const slow = await startSlowReader("slow");
    // --exit-at-end means the end as it was at the start: what comes later is not this run's.
    await produce("slow", ["later", "and later"]);
    slow.readOn();
    const { code } = await slow.consumer.finished();
    assert.equal(code, 0, slow.consumer.stderr);
    assert.equal(slow.lines().length, slow.total);
    assert.equal(await committedOf("slow"), slow.total);
  });

  it("at SIGTERM commit exactly the lines that a slow reader gets, so that the next run has the rest", async () => {
    const slow = await startSlowReader("slow-stop");
    const ending = slow.consumer.end("SIGTERM");
    slow.readOn();
    const { code } = await ending;
    assert.equal(code, 0, slow.consumer.stderr);
    const first = slow.lines();
    assert.ok(first.length < slow.total, "it had written everything before the signal");
    assert.equal(await committedOf("slow-stop"), first.length);
    const rest = await run("consume slow-stop --group slow-stop --exit-at-end");
    const numbers = [...first, ...linesOf(rest.stdout)].map((line) => Number(line.split(" ")[0]));
    assert.deepEqual(
      numbers,
      Array.from({ length: slow.total }, (_, i) => i),
    );
  });

  it("count a line beyond the record limit as unsent, name it, and send the rest", async () => {
    await createTopic("long", 1);
    const { code, stderr } = await run("produce long", `a\n${"x".repeat(1_048_577)}\nb\n`);
    assert.equal(code, 1);
    assert.match(stderr, /line 2 was not sent: it has 1048577 bytes and a record may have 1048576/);
    assert.match(stderr, /sent 2 records to long; 1 record unsent/);
    const { stdout } = await run("consume long --group long --exit-at-end");
    assert.deepEqual(linesOf(stdout), ["a", "b"]);
  });
});

describe("streamhouse cluster", () => {
  it("shows agents, leases by topic and load, for people and as JSON", async () => {
    await createTopic("clustered", 3);
    const { code, stdout, stderr } = await run("cluster --json");
    assert.equal(code, 0, stderr);
    const { answeredByRunId, agents, topics } = JSON.parse(stdout);
    assert.equal(agents.length, 1);
    const { address, agentId, leases, runId, state } = agents[0];
    assert.deepEqual([address, agentId, state], [agent.grpc, agent.agentId, "live"]);
    assert.equal(runId, answeredByRunId);
    const clustered = topics.find((it: { name: string }) => it.name === "clustered");
    assert.deepEqual(clustered.leases, [{ runId, partitions: 3 }]);
    assert.deepEqual([clustered.partitions, clustered.withoutLease], [3, 0]);
    const text = linesOf((await run("cluster")).stdout);
    assert.match(text[0] ?? "", /^AGENT +ADDRESS +STATE +STARTED +LEASES +RECORDS\/S/);
    const row = new RegExp(`^${agentId} +${agent.grpc} +live +\\S+ +${leases} `);
    assert.match(text[1] ?? "", row);
    assert.ok(
      text.some((line) => /^clustered +3 +3 +0$/.test(line)),
      text.join("\n"),
    );
  });
});

describe("streamhouse lag", () => {
  it("shows each partition of each topic, for people and as JSON", async () => {
    await createTopic("lag-a", 2);
    await createTopic("lag-b", 1);
    for (const topic of ["lag-a", "lag-b"]) {
      await produce(topic, ["1", "2", "3"], " --partition 0");
      await run(`consume ${topic} --group lag-both --max 2`);
    }
    const rows = await lagOf("lag-both");
    const first = rows.find((row) => row.topic === "lag-a" && row.partition === 0);
    assert.deepEqual(
      { ...first, lagSeconds: 0 },
      {
        topic: "lag-a",
        partition: 0,
        committed: 2,
        highWatermark: 3,
        lagRecords: 1,
        lagSeconds: 0,
      },
    );
    assert.ok((first?.lagSeconds ?? 0) > 0);
    const { stdout } = await run("lag lag-both");
    assert.match(stdout, /^TOPIC +PARTITION +COMMITTED +HIGH WATERMARK +LAG +LAG SECONDS$/m);
    assert.match(stdout, /^lag-b +0 +2 +3 +1 +\d+\.\d{3}$/m);
  });

  it("says so when nobody knows the group", async () => {
    const { code, stderr } = await run("lag lag-nobody");
    assert.equal(code, 1);
    assert.match(stderr, /^streamhouse: group lag-nobody has no members/);
  });
});
