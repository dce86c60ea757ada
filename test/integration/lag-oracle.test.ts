/**
 * Lag against an oracle: after every step of a workload, every series of `streamhouse_group_lag_*` and `streamhouse_consumer_lag_*`
 * that `/metrics` answers is compared with the test's own tally, in records exactly, in seconds within what is known of the
 * moment (exactly, on the manual clock). A failing seed is in the message: `LAG_SEED=7` replays it alone.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { cli, startCli } from "./child.ts";
import { compressions, LagPlay } from "./lag-play.ts";
import { type World, worlds } from "./lag-world.ts";
import { samplesOf } from "./metrics-text.ts";

const seeds = process.env.LAG_SEED === undefined ? [1, 2] : [Number(process.env.LAG_SEED)];
const steps = 40;

/** Whole numbers below `n` that repeat with the seed (mulberry32). */
function dice(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

const groups: Readonly<Record<string, readonly string[]>> = {
  one: ["a"],
  both: ["a", "b"],
  other: ["b"],
};

async function randomStep(play: LagPlay, roll: (n: number) => number): Promise<void> {
  const { owners, topics } = play.state;
  const group = Object.keys(groups)[roll(3)] ?? "one";
  const topic = roll(3) === 0 ? "b" : "a";
  const { logs = [] } = topics.get(topic) ?? {};
  const partition = roll(logs.length);
  const owned = owners.has(group);
  switch (roll(12)) {
    case 0:
    case 1:
      if (owned) await play.close(group);
      else await play.open(group, groups[group] ?? []);
      return;
    case 2:
    case 3:
      if (owned) await play.poll(group);
      return;
    case 4:
    case 5:
      if (owned) await play.commit(group);
      return;
    case 6: {
      const { next = 0, logStart = 0 } = logs[partition] ?? {};
      if (!owned || groups[group]?.includes(topic) !== true) return;
      await play.seek(group, topic, partition, logStart + roll(next - logStart + 1));
      return;
    }
    case 7:
      await randomUpheaval(play, topic, roll(6));
      return;
    default:
      await play.produce(topic, partition, 1 + roll(9), compressions[roll(3)]);
  }
}

async function randomUpheaval(play: LagPlay, topic: string, which: number): Promise<void> {
  if (which < 2) await play.retain(topic);
  else if (which < 4) await play.restart();
  else if (which === 4) await anew(play, topic);
}

/** The topic goes and comes again under its name; its readers leave before. */
async function anew(play: LagPlay, topic: string): Promise<void> {
  for (const group of [...play.state.owners.keys()]) {
    if (groups[group]?.includes(topic) === true) await play.close(group);
  }
  const partitions = play.state.topics.get(topic)?.logs.length ?? 1;
  await play.deleteTopic(topic);
  await play.look();
  await play.createTopic(topic, partitions);
}

async function randomRun(play: LagPlay, seed: number): Promise<void> {
  const roll = dice(seed);
  await play.createTopic("a", 2);
  await play.createTopic("b", 1);
  for (let step = 0; step < steps; step++) {
    try {
      await randomStep(play, roll);
      if (roll(2) === 0) await play.settle();
      else await play.look();
      if (roll(4) === 0) await play.world.pass(roll(60));
    } catch (cause) {
      const what = cause instanceof Error ? cause.message : String(cause);
      const message = `seed ${seed}, step ${step}: ${what}\n${play.oracle.story}`;
      throw new assert.AssertionError({ message, actual: cause });
    }
  }
  await play.settle();
  assert.ok(play.oracle.compared > steps, `${play.oracle.compared} series were compared`);
}

for (const kind of worlds) {
  describe(`lag ${kind.name}, at every scrape`, () => {
    for (const seed of seeds) {
      it(`is the tally's, whatever happens (seed ${seed})`, async () => {
        const play = new LagPlay(await kind.open());
        try {
          await randomRun(play, seed);
        } finally {
          await play.end();
        }
      });
    }
  });

  describe(`lag ${kind.name}`, () => {
    let play: LagPlay;
    let world: World;
    before(async () => {
      world = await kind.open();
      play = new LagPlay(world);
    });
    after(() => play.end());

    const shown = async (name: string, group_id: string) => {
      const { samples } = await world.scrape();
      return samplesOf(samples, `streamhouse_${name}`, { group_id }).map((it) => it.value);
    };
    const all = async (group: string) => {
      while ((await play.poll(group)) > 0) await play.look();
      await play.commit(group);
    };

    it("of an idle group is 0 in records and in seconds, and stays it", async () => {
      await play.createTopic("idle", 2);
      await play.produce("idle", 0, 7);
      await play.open("idle", ["idle"]);
      await all("idle");
      await play.settle();
      assert.deepEqual(await shown("group_lag_seconds", "idle"), [0, 0]);
      await world.pass(300);
      await play.settle();
      assert.deepEqual(await shown("consumer_lag_records", "idle"), [0, 0]);
      assert.deepEqual(await shown("consumer_lag_seconds", "idle"), [0, 0]);
      await play.close("idle");
    });

    it("of a stuck consumer grows in records and seconds while the application does not poll", async () => {
      await play.createTopic("stuck", 1);
      await play.produce("stuck", 0, 3);
      await play.open("stuck", ["stuck"]);
      assert.equal(await play.poll("stuck"), 3);
      await play.settle();
      let records = 3;
      let seconds = 0;
      for (let i = 0; i < 4; i++) {
        await play.produce("stuck", 0, 2);
        records += 2;
        await world.pass(100);
        await play.settle();
        assert.deepEqual(await shown("consumer_lag_records", "stuck"), [records]);
        const [now = 0] = await shown("consumer_lag_seconds", "stuck");
        assert.ok(now > seconds, `${now} after ${seconds}`);
        seconds = now;
      }
      assert.deepEqual(await shown("group_lag_records", "stuck"), [], "it never committed");
      await play.commit("stuck");
      await play.produce("stuck", 0, 1);
      await play.settle();
      assert.deepEqual(await shown("group_lag_records", "stuck"), [9]);
      await play.close("stuck");
    });

    it("of a dead group goes on growing, with nobody left to ask", async () => {
      await play.createTopic("dead", 1);
      await play.produce("dead", 0, 4);
      if (world.grpc === "") {
        await play.open("dead", ["dead"]);
        await all("dead");
        await play.close("dead");
      } else await play.dies("dead", "dead", startCli);
      let seconds = 0;
      for (let i = 1; i <= 3; i++) {
        await play.produce("dead", 0, 5);
        await world.pass(100);
        await play.settle();
        assert.deepEqual(await shown("group_lag_records", "dead"), [5 * i]);
        const [now = 0] = await shown("group_lag_seconds", "dead");
        assert.ok(now > seconds, `${now} after ${seconds}`);
        seconds = now;
      }
      assert.deepEqual(await shown("group_members", "dead"), [0]);
      assert.deepEqual(await shown("consumer_lag_records", "dead"), []);
    });

    it("of a group just rebalanced is the new member's from its first answer on, and the old one's no more", async () => {
      await play.createTopic("moved", 3);
      for (const partition of [0, 1, 2]) await play.produce("moved", partition, 4);
      await play.open("moved", ["moved"]);
      await play.poll("moved");
      await play.commit("moved");
      await play.open("moved", ["moved"], { waits: true });
      await play.settle();
      assert.deepEqual(await shown("group_members", "moved"), [2]);
      await play.close("moved");
      if (world.toleranceMs === 0) {
        // Only a clock of ours holds the next member back until this was looked at.
        await play.look();
        assert.deepEqual(await shown("consumer_lag_records", "moved"), []);
      }
      await play.takeOver("moved");
      await play.look();
      await play.produce("moved", 1, 2);
      await play.settle();
      assert.equal((await shown("consumer_lag_records", "moved")).length, 3);
      await all("moved");
      await play.settle();
      await play.close("moved");
    });

    it("of an empty partition is 0, for a new group as for an old one", async () => {
      await play.createTopic("empty", 2);
      await play.open("empty", ["empty"]);
      await play.settle();
      assert.deepEqual(await shown("consumer_lag_records", "empty"), [0, 0]);
      assert.deepEqual(await shown("consumer_lag_seconds", "empty"), [0, 0]);
      await play.commit("empty");
      await play.settle();
      assert.deepEqual(await shown("group_lag_records", "empty"), [0, 0]);
      assert.deepEqual(await shown("group_lag_seconds", "empty"), [0, 0]);
      await play.close("empty");
    });

    it("of a group behind the log start is counted from there, and what it lost apart", async () => {
      await play.createTopic("lost", 1);
      await play.produce("lost", 0, 8);
      await play.open("lost", ["lost"]);
      await play.poll("lost");
      await play.commit("lost");
      await play.close("lost");
      await play.settle();
      assert.deepEqual(await shown("group_lead_records", "lost"), [5]);
      await play.retain("lost");
      await play.settle();
      assert.deepEqual(await shown("group_lag_records", "lost"), [0]);
      assert.deepEqual(await shown("group_lost_records", "lost"), [3]);
      await play.produce("lost", 0, 2);
      await play.settle();
      assert.deepEqual(await shown("group_lag_records", "lost"), [2]);
      assert.deepEqual(await shown("group_lead_records", "lost"), [0]);
      await play.open("lost", ["lost"]);
      await all("lost");
      await play.settle();
      assert.deepEqual(await shown("group_lost_records", "lost"), [0]);
      await play.close("lost");
    });

    it("after a seek backwards counts again what was committed already, once that is committed", async () => {
      await play.createTopic("back", 1);
      await play.produce("back", 0, 5);
      await world.pass(50);
      await play.produce("back", 0, 5);
      await play.open("back", ["back"]);
      await all("back");
      await play.settle();
      await play.seek("back", "back", 0, 2);
      await play.settle();
      assert.deepEqual(await shown("group_lag_records", "back"), [0], "nothing was committed yet");
      await play.commit("back");
      await play.settle();
      assert.deepEqual(await shown("group_lag_records", "back"), [8]);
      assert.deepEqual(await shown("consumer_lag_records", "back"), [8]);
      await play.close("back");
    });

    it("of compressed batches counts records, not batches, also from within one", async () => {
      await play.createTopic("packed", 1);
      for (const compression of compressions) await play.produce("packed", 0, 20, compression);
      await play.open("packed", ["packed"]);
      for (let read = 0; read < 60; ) {
        read += await play.poll("packed");
        await play.commit("packed");
        await play.settle();
        assert.deepEqual(await shown("group_lag_records", "packed"), [60 - read]);
      }
      await play.close("packed");
    });

    it("of a group that begins at the end counts what came since, from its consumer's first moment", async () => {
      await play.createTopic("late", 1);
      await play.produce("late", 0, 6);
      await play.open("late", ["late"], { offsetReset: "latest" });
      await play.settle();
      assert.deepEqual(await shown("consumer_lag_records", "late"), [0]);
      await play.produce("late", 0, 2);
      await play.settle();
      assert.deepEqual(await shown("consumer_lag_records", "late"), [2]);
      await play.close("late");
    });

    it("is the same by consumer.lag(), by the admin client and on the command line", async () => {
      await play.createTopic("asked", 2);
      await play.produce("asked", 0, 9, "zstd");
      await play.produce("asked", 1, 4);
      await play.open("asked", ["asked"]);
      await play.poll("asked");
      await play.commit("asked");
      await play.settle();
      const metric = await shown("group_lag_records", "asked");
      const { lags } = await world.until(world.house.admin.describeGroup("asked"));
      assert.deepEqual(lags.map((it) => it.lagRecords).sort(), [...metric].sort());
      const own = await world.until(play.consumer("asked").lags());
      assert.deepEqual(own.map((it) => it.records).sort(), [...metric].sort());
      const [first] = own;
      assert.equal((first?.seconds ?? 0) > 0, (first?.records ?? 0) > 0);
      if (world.grpc !== "") {
        const { code, stdout } = await cli(["lag", "asked", "--json", "--agents", world.grpc]);
        assert.equal(code, 0);
        const rows = JSON.parse(stdout) as readonly { lagRecords: number; lagSeconds: number }[];
        assert.deepEqual(rows.map((it) => it.lagRecords).sort(), [...metric].sort());
        for (const row of rows) assert.equal(row.lagSeconds > 0, row.lagRecords > 0);
      }
      await play.close("asked");
    });

    it("outlives the agent: it is exact at the first look after a restart", async () => {
      if (world.restart === undefined) return;
      await play.createTopic("outlives", 1);
      await play.produce("outlives", 0, 5);
      await play.open("outlives", ["outlives"]);
      await play.poll("outlives");
      await play.commit("outlives");
      await play.produce("outlives", 0, 3, "gzip");
      await play.restart();
      await play.settle();
      assert.deepEqual(await shown("group_lag_records", "outlives"), [3]);
      await play.close("outlives");
    });
  });
}
