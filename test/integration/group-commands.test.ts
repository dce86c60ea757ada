/** `streamhouse group`: what operators and scripts see of consumer groups, and change. One agent in a process of its own. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { CliIo } from "../../src/cli/cli-io.ts";
import { runCli } from "../../src/cli/streamhouse.ts";
import type { Consumer } from "../../src/consumer/consumer.ts";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { type AgentProcess, eventually, startAgent } from "./child.ts";

interface Plan {
  readonly group: string;
  readonly executed: boolean;
  readonly offsets: readonly {
    readonly topic: string;
    readonly partition: number;
    readonly committed: number | null;
    readonly offset: number;
    readonly clamped: boolean;
  }[];
}

let data: string;
let agent: AgentProcess;
let house: House;

async function run(line: string) {
  let stdout = "";
  let stderr = "";
  const io: CliIo = {
    async *stdin() {},
    stdout: {
      closed: false,
      failure: undefined,
      async write(lines) {
        stdout += lines.map((it) => `${it}\n`).join("");
        return lines.length;
      },
    },
    stderr: (text) => {
      stderr += `${text}\n`;
    },
    stop: new AbortController().signal,
  };
  const code = await runCli([...line.split(" "), "--agents", agent.grpc], io);
  return { code, stdout, stderr };
}

/** What the command answers with `--json`; it must have been done. */
async function json(line: string): Promise<unknown> {
  const { code, stdout, stderr } = await run(`${line} --json`);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

const planOf = async (line: string) => (await json(line)) as Plan;

const offsetsOf = ({ offsets }: Plan) =>
  offsets.map((it) => `${it.topic}/${it.partition} ${it.committed} ${it.offset} ${it.clamped}`);

/** A topic with these numbers of records in its partitions. */
async function topicWith(name: string, ...counts: number[]): Promise<void> {
  await house.admin.createTopic(name, { partitions: counts.length });
  await using producer = house.producer();
  for (const [partition, count] of counts.entries()) {
    const records = Array.from({ length: count }, (_, i) => ({ partition, value: `${i}` }));
    if (count > 0) await producer.sendBatch({ topic: name, records });
  }
}

async function commit(group: string, topic: string, ...offsets: number[]): Promise<void> {
  const all = offsets.map((offset, partition) => ({ topic, partition, offset }));
  await house.admin.alterGroupOffsets(group, all);
}

async function committed(group: string): Promise<readonly string[]> {
  const found = await house.admin.committedOffsets(group);
  return found.map(({ partition, offset }) => `${partition} ${offset}`).sort();
}

/** A member that has what it can have. */
async function joined(group: string, topic: string, count: number): Promise<Consumer> {
  const consumer = house.consumer({ group, topics: [topic], autoCommit: false, clientId: "desk" });
  await eventually("the member to have its partitions", async () => {
    await consumer.poll(10);
    return consumer.assignment().length === count;
  });
  return consumer;
}

before(async () => {
  data = await mkdtemp(join(tmpdir(), "streamhouse-groups-"));
  agent = await startAgent(data);
  house = await connect({ agents: [agent.grpc] });
});

after(async () => {
  await house?.close();
  await agent?.child.end();
  await rm(data, { recursive: true, force: true });
});

describe("streamhouse group list and describe", () => {
  it("show a living group: its members, what each has, and how far it is", async () => {
    await topicWith("shown", 4, 2);
    const consumer = await joined("g-shown", "shown", 2);
    await consumer.commit([{ topic: "shown", partition: 0, offset: 0 }]);
    const listed = (await json("group list")) as { group: string }[];
    const entry = listed.find(({ group }) => group === "g-shown");
    assert.deepEqual(Object.keys(entry ?? {}), ["group", "state", "members", "epoch"]);
    assert.match((await run("group list")).stdout, /^g-shown +stable +1 +\d+$/m);

    const text = await run("group describe g-shown");
    assert.equal(text.code, 0, text.stderr);
    assert.match(text.stdout, /^group {5}g-shown\nstate {5}stable\nepoch {5}\d+$/m);
    const who = consumer.memberId;
    const member = new RegExp(`^${who} +- +desk +\\d+ +\\d+\\.\\d s +shown/0-1 +-$`, "m");
    assert.match(text.stdout, member);
    assert.match(text.stdout, new RegExp(`^shown +0 +0 +4 +4 +\\d+\\.\\d{3} +0 +${who}$`, "m"));
    assert.match(text.stdout, new RegExp(`^shown +1 +- +2 +2 +\\d+\\.\\d{3} +0 +${who}$`, "m"));

    const described = (await json("group describe g-shown")) as {
      readonly state: string;
      readonly members: readonly { readonly topics: readonly string[]; instanceId: null }[];
      readonly partitions: readonly object[];
    };
    assert.equal(described.state, "stable");
    assert.deepEqual(described.members[0]?.topics, ["shown"]);
    assert.equal(described.members[0]?.instanceId, null);
    assert.deepEqual(
      described.partitions.map((it) => ({ ...it, lagSeconds: 0 })),
      [
        [0, 0, 4],
        [1, null, 2],
      ].map(([partition, committed, highWatermark]) => ({
        ...{ topic: "shown", partition, memberId: who, committed, highWatermark },
        ...{ lagRecords: highWatermark, lagSeconds: 0, lostRecords: 0, error: null },
      })),
    );
    await consumer.close();
    assert.match((await run("group describe g-shown")).stdout, /^state {5}empty$/m);
    assert.match((await run("group describe g-shown")).stdout, /^no live members$/m);
  });

  it("show which member has what, by which name it is known, and who keeps a place", async () => {
    await topicWith("shared", 1, 1);
    const settings = { group: "g-shared", topics: ["shared"], fetchMaxWaitMs: 10 };
    const stays = house.consumer({ ...settings, groupInstanceId: "desk-1" });
    const goes = house.consumer({ ...settings, groupInstanceId: "desk-2" });
    await eventually("each to have its share", async () => {
      await Promise.all([stays.poll(10), goes.poll(10)]);
      return stays.assignment().length === 1 && goes.assignment().length === 1;
    });
    const shares = async () => {
      const text = (await run("group describe g-shared")).stdout;
      const found = text.matchAll(/^\S+ +(desk-\d) .* (shared\/[\d-]+) +-$/gm);
      return Array.from(found, ([, name, share]) => `${name} ${share}`).sort();
    };
    const names = (await shares()).map((it) => it.split(" ")[0]);
    assert.deepEqual(names, ["desk-1", "desk-2"]);
    assert.deepEqual((await shares()).map((it) => it.split(" ")[1]).sort(), [
      "shared/0",
      "shared/1",
    ]);
    const before = await shares();
    await goes.close();
    assert.deepEqual(await shares(), before, "its place is kept until its session ends");
    const refused = await run("group delete g-shared");
    assert.equal(refused.code, 1);
    await stays.close();
  });

  it("say that there is no such group, exit code 1", async () => {
    const { code, stdout, stderr } = await run("group describe g-nobody");
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^streamhouse: there is no group g-nobody: [^\n]+\n$/);
  });
});

describe("streamhouse group reset", () => {
  it("shows its plan and changes nothing, unless told to", async () => {
    await topicWith("planned", 10, 10);
    await commit("g-planned", "planned", 4, 7);
    const { code, stdout, stderr } = await run("group reset g-planned --to earliest");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /nothing was changed: add --execute/);
    assert.match(stdout, /^planned +0 +4 +0$/m);
    assert.match(stdout, /^planned +1 +7 +0$/m);
    const dry = await planOf("group reset g-planned --to earliest --dry-run");
    assert.equal(dry.executed, false);
    assert.deepEqual(await committed("g-planned"), ["0 4", "1 7"]);

    const done = await planOf("group reset g-planned --to earliest --execute");
    assert.equal(done.executed, true);
    assert.deepEqual(offsetsOf(done), ["planned/0 4 0 false", "planned/1 7 0 false"]);
    assert.deepEqual(await committed("g-planned"), ["0 0", "1 0"]);
    await using consumer = house.consumer({ group: "g-planned", topics: ["planned"] });
    for await (const { offset } of consumer) {
      assert.equal(offset, 0, "the next member begins there");
      break;
    }
  });

  it("goes to an end, an offset, by a number of records; never beyond the log", async () => {
    await topicWith("moved", 10, 3);
    await commit("g-moved", "moved", 4, 2);
    const plan = async (to: string) =>
      (await planOf(`group reset g-moved --to ${to}`)).offsets.map(
        (it) => `${it.offset}${it.clamped ? "!" : ""}`,
      );
    assert.deepEqual(await plan("latest"), ["10", "3"]);
    assert.deepEqual(await plan("5"), ["5", "3!"]);
    assert.deepEqual(await plan("+1"), ["5", "3"]);
    assert.deepEqual(await plan("-3"), ["1", "0!"]);
    const { stdout } = await run("group reset g-moved --to 5");
    assert.match(stdout, /^moved +1 +2 +3 +as far as the log goes$/m);
  });

  it("goes to a time, and to a duration ago", async () => {
    await topicWith("timed", 3);
    const between = await eventually("a later millisecond", async () => {
      const now = Date.now();
      await new Promise((resolve) => setTimeout(resolve, 2));
      return Date.now() > now && now;
    });
    await using producer = house.producer();
    await producer.send({ topic: "timed", value: "later", timestamp: between + 60_000 });
    await commit("g-timed", "timed", 0);
    const to = async (where: string) =>
      offsetsOf(await planOf(`group reset g-timed --to ${where}`))[0];
    const middle = new Date(between + 1_000).toISOString();
    assert.equal(await to(middle), "timed/0 0 3 false");
    assert.equal(await to("P1D"), "timed/0 0 0 false");
    assert.equal(await to("2100-01-01T00:00:00Z"), "timed/0 0 4 false", "the end");
  });

  it("is about the topics and partitions named, also those that the group never read", async () => {
    await topicWith("one", 5, 5, 5);
    await topicWith("two", 5);
    await commit("g-named", "one", 1);
    const plan = async (more: string) =>
      offsetsOf(await planOf(`group reset g-named --to latest${more}`));
    assert.deepEqual(await plan(""), ["one/0 1 5 false"], "what it has committed");
    assert.deepEqual(await plan(" --topic one --partition 2,0"), [
      "one/0 1 5 false",
      "one/2 null 5 false",
    ]);
    assert.deepEqual(await plan(" --topic two,one"), [
      ...["two/0 null 5 false", "one/0 1 5 false"],
      ...["one/1 null 5 false", "one/2 null 5 false"],
    ]);
    await planOf("group reset g-new --to 3 --topic two --execute");
    assert.deepEqual(await committed("g-new"), ["0 3"]);
    for (const [line, reason] of [
      ["g-none --to latest", /g-none has committed nothing: name its topics with --topic/],
      ["g-named --to +1 --topic two", /nothing in two\/0: there is nothing to count from/],
      ["g-named --to 0 --topic nowhere", /nowhere/],
      ["g-named --to 0 --topic two --partition 1", /partition 1 of topic two does not exist/],
    ] as const) {
      const { code, stdout, stderr } = await run(`group reset ${line} --execute`);
      assert.deepEqual([code, stdout], [1, ""], line);
      assert.match(stderr, reason);
    }
    assert.deepEqual(await committed("g-named"), ["0 1"]);
  });
});

describe("streamhouse group reset and delete", () => {
  it("are refused while members live, and do it when they are gone", async () => {
    await topicWith("busy", 8);
    const consumer = await joined("g-busy", "busy", 1);
    await consumer.commit();
    const before = await committed("g-busy");
    const reset = await run("group reset g-busy --to earliest --topic busy --execute");
    assert.deepEqual([reset.code, reset.stdout], [1, ""]);
    assert.match(reset.stderr, /^streamhouse: group g-busy has a live member: stop [^\n]+ s\)\n$/);
    const deletion = await run("group delete g-busy");
    assert.deepEqual([deletion.code, deletion.stdout], [1, ""]);
    assert.match(deletion.stderr, /g-busy/);
    assert.deepEqual(await committed("g-busy"), before);
    await consumer.close();

    assert.equal((await run("group reset g-busy --to 2 --execute --topic busy")).code, 0);
    assert.deepEqual(await committed("g-busy"), ["0 2"]);
    const deleted = await run("group delete g-busy");
    assert.deepEqual([deleted.code, deleted.stdout], [0, "deleted group g-busy\n"]);
    assert.deepEqual(await committed("g-busy"), []);
    const again = await run("group delete g-busy");
    assert.equal(again.code, 1);
    assert.match(again.stderr, /g-busy/);
    assert.equal((await run("group describe g-busy")).code, 1);
  });
});
