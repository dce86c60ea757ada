/**
 * Exactly once into the application's own database: the example's workers over a real PostgreSQL, killed and stopped. And the same checker
 * over workers that are each wrong in one way: it must find every one of them.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { RuntimeName } from "../../scripts/runtimes.ts";
import { Bookkeeping, exactlyOnce, SESSION_MS, type Verdict, type Worker } from "./bookkeeping.ts";

const example = "examples/exactly-once/worker.ts";
const careless = "test/peers/programs/careless-worker.ts";
const runtimes: readonly RuntimeName[] = ["node", "node", "bun", "deno"];
const seed = Number(process.env.EXACTLY_ONCE_SEED ?? 1);
const durationMs = Number(process.env.EXACTLY_ONCE_MS ?? 8_000);

const actions = ["kill", "kill", "stop", "stop long", "cut", "end"] as const;

/** Numbers from 0 to `below`, the same for a seed. */
function dice(from: number): (below: number) => number {
  let state = from * 2_654_435_761 + 1;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

describe("exactly once into the application's own database", () => {
  let world: Bookkeeping;
  before(async () => {
    world = await Bookkeeping.start();
  });
  after(() => world?.end());

  it(`books every transfer once while its workers are killed, stopped, cut off and ended (EXACTLY_ONCE_SEED=${seed})`, async () => {
    const topic = "transfers";
    await world.house.admin.createTopic(topic, { partitions: 6 });
    await world.postgres.createDatabase("books");
    const start = (runtime: RuntimeName) => world.worker(runtime, example, topic, "books");
    const workers = runtimes.map(start);
    const rows = () => world.postgres.query("SELECT owner FROM positions", "books");
    const stop = new AbortController();
    const sending = world.sending(topic, stop.signal, 1_000_000);
    const until = performance.now() + durationMs;
    const roll = dice(seed);
    const done = new Map<string, number>();
    const resting: Promise<void>[] = [];
    for (let round = roll(actions.length); performance.now() < until; round++) {
      await wait(150 + roll(500));
      const place = roll(workers.length);
      const worker = workers[place] as Worker;
      const action = actions[round % actions.length] ?? "kill";
      done.set(action, (done.get(action) ?? 0) + 1);
      if (action === "kill") worker.signal("SIGKILL");
      if (action === "end") worker.signal("SIGTERM");
      if (action.startsWith("stop")) {
        worker.signal("SIGSTOP");
        const restMs = action === "stop" ? 100 + roll(400) : SESSION_MS + 500 + roll(1_000);
        resting.push(wait(restMs).then(() => worker.signal("SIGCONT")));
      }
      if (action === "cut") {
        const others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity";
        const theirs = "WHERE datname = 'books' AND pid <> pg_backend_pid()";
        await world.postgres.query(`${others} ${theirs}`);
      }
      // What ended is started again, as a supervisor would.
      for (const [i, it] of workers.entries()) {
        if (it.ended || (i === place && action === "kill")) {
          workers[i] = start(runtimes[i] ?? "node");
        }
      }
    }
    await Promise.all(resting);
    stop.abort();
    const sent = await sending;
    for (const [i, it] of workers.entries()) {
      if (it.ended) workers[i] = start(runtimes[i] ?? "node");
    }
    await world.booked(topic, "books");
    assert.deepEqual(await world.check(sent, "books"), exactlyOnce);
    assert.ok(sent.length > 100, `only ${sent.length} transfers`);
    assert.ok(
      [...new Set(actions)].every((it) => done.has(it)),
      JSON.stringify([...done]),
    );
    assert.equal((await rows()).length, 6);
    for (const it of workers) it.signal("SIGTERM");
    await Promise.all(workers.map((it) => it.closed));
  });

  /** One worker is held at a place and killed or stopped there; another one does the rest. */
  async function scenario(
    defect: string,
    place: string,
    fate: "killed" | "stopped",
  ): Promise<Verdict & { readonly woken: string | undefined }> {
    const topic = `${defect}-${fate}`;
    await world.house.admin.createTopic(topic);
    await world.postgres.createDatabase(topic);
    const sent = await world.sending(topic, new AbortController().signal, 100);
    const start = (hold: string) =>
      world.worker("node", careless, topic, topic, { DEFECT: defect, HOLD: hold });
    const first = start(place);
    await first.says(/held/);
    if (fate === "killed") await first.kill();
    else first.signal("SIGSTOP");
    const second = start("");
    await world.booked(topic, topic);
    let woken: string | undefined;
    if (fate === "stopped") {
      first.signal("SIGCONT");
      first.tell("go");
      woken = await first.says(/booked|moved/);
    }
    const verdict = await world.check(sent, topic);
    await Promise.all([first.kill(), second.kill()]);
    return { ...verdict, woken };
  }

  it("refuses the transaction of a worker that was stopped until its partition had moved", async () => {
    assert.deepEqual(await scenario("none", "before", "stopped"), {
      ...exactlyOnce,
      woken: "moved",
    });
  });

  describe("finds with the same checker", { concurrency: 2 }, () => {
    it("that a woken worker books twice, where the row is moved unconditionally", async () => {
      const { lost, duplicated, woken } = await scenario("unconditional", "before", "stopped");
      assert.deepEqual([lost, woken], [0, "booked"]);
      assert.ok(duplicated > 0);
    });

    it("duplicates, where the row is moved in a transaction after the data's", async () => {
      const { lost, duplicated } = await scenario("position-later", "between", "killed");
      assert.ok(lost === 0 && duplicated > 0, `${lost} lost, ${duplicated} duplicated`);
    });

    it("losses, where the row is moved in a transaction before the data's", async () => {
      const { lost, duplicated } = await scenario("position-first", "between", "killed");
      assert.ok(lost > 0 && duplicated === 0, `${lost} lost, ${duplicated} duplicated`);
    });

    it("duplicates, where a worker begins at what the group committed", async () => {
      const { lost, duplicated } = await scenario("group-offsets", "after", "killed");
      assert.ok(lost === 0 && duplicated > 0, `${lost} lost, ${duplicated} duplicated`);
    });
  });
});
