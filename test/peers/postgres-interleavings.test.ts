/**
 * Two connections to one real PostgreSQL, whose statements are made to meet in the order that each test says: one waits in the middle
 * of its transaction for a lock that the test holds, and the other comes.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import {
  flushOf,
  fresh,
  mergeOf,
  partitionsOf,
  startRun,
} from "../../src/testing/contracts/metadata-subject.ts";
import { eventually } from "../integration/child.ts";
import { arraysOf, held, nextOffsets, PostgresLab } from "./postgres-lab.ts";

/** How many the server has written into its log. */
function deadlocks(server: PostgresServer): number {
  return server.log.split("deadlock detected").length - 1;
}

const FLUSH_IDS = "UPDATE counters SET value = value WHERE name = 'flush_id'";

describe("two connections to PostgreSQL", () => {
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server.remove());

  const inLab = (test: (lab: PostgresLab) => Promise<void>) => PostgresLab.with(() => server, test);

  it(
    "a commit that a take-over comes before is fenced",
    inLab(async (lab) => {
      const [store, taker] = [await lab.store(), lab.session()];
      const { topic, topicId, runId } = await held(store, 2, 1_000);
      await lab.moveTime(1_000);
      const next = fresh("run");
      await startRun(store, next);
      await taker.run("BEGIN");
      await taker.run(`SELECT * FROM acquire_leases('${next}', ${arraysOf(topicId, [1])})`);
      // Its time was over, so the take-over of one partition ends the run, and with it what it holds besides.
      const commit = store.commitFlush(flushOf(runId, 1, [{ topicId, baseOffset: 0 }]));
      await lab.waiting(1);
      await taker.run("COMMIT");
      const refused = { topicId, partition: 0, reason: "fenced" };
      assert.deepEqual(await commit, { status: "refused", partitions: [refused] });
      assert.deepEqual(await nextOffsets(store, topic), [0, 0]);
    }),
  );

  it(
    "a take-over that comes after a commit's check waits for it, and goes on behind it",
    inLab(async (lab) => {
      const [store, other, blocker] = [await lab.store(), await lab.store(), lab.session()];
      const { topicId, runId } = await held(store, 1, 1_000);
      await lab.moveTime(0);
      const next = fresh("run");
      await startRun(other, next, 60_000);
      await blocker.run("BEGIN");
      await blocker.run(FLUSH_IDS);
      const entry = { topicId, baseOffset: 0, recordCount: 5 };
      const state = Uint8Array.of(7);
      const states = [{ topicId, partition: 0, state }];
      const commit = store.commitFlush(flushOf(runId, 1, [entry], states));
      await lab.waiting(1);
      await lab.moveTime(1_000);
      const taken = other.acquireLeases(next, [{ topicId, partition: 0 }]);
      await lab.waiting(2);
      await blocker.run("COMMIT");
      assert.deepEqual(await commit, { status: "committed" });
      const [grant] = await taken;
      assert.deepEqual([grant?.nextOffset, grant?.epoch], [5, 2]);
      assert.deepEqual(grant?.producerState, state);
    }),
  );

  it(
    "the clock is read after the locks: a commit that waited beyond its lease is fenced",
    inLab(async (lab) => {
      const [store, blocker] = [await lab.store(), lab.session()];
      const { topicId, runId } = await held(store, 1, 1_000);
      await lab.moveTime(0);
      await blocker.run("BEGIN");
      await blocker.run(`SELECT lock_partitions(${arraysOf(topicId, [0])})`);
      const commit = store.commitFlush(flushOf(runId, 1, [{ topicId, baseOffset: 0 }]));
      await lab.waiting(1);
      await lab.moveTime(1_000);
      await blocker.run("COMMIT");
      assert.equal((await commit).status, "refused");
    }),
  );

  it(
    "a renewal that a take-over comes before says that the run is over",
    inLab(async (lab) => {
      const [store, taker] = [await lab.store(), lab.session()];
      const { topicId, runId } = await held(store, 1, 1_000);
      await lab.moveTime(1_000);
      const next = fresh("run");
      await startRun(store, next);
      await taker.run("BEGIN");
      await taker.run(`SELECT * FROM acquire_leases('${next}', ${arraysOf(topicId, [0])})`);
      const renewed = store.renewRun(runId, 1_000);
      await lab.waiting(1);
      await taker.run("COMMIT");
      assert.equal(await renewed, false);
    }),
  );

  it(
    "a take-over that a late renewal comes before takes nothing",
    inLab(async (lab) => {
      const [store, other, renewer] = [await lab.store(), await lab.store(), lab.session()];
      const { topicId, runId } = await held(store, 1, 1_000);
      await lab.moveTime(1_000);
      const next = fresh("run");
      await startRun(other, next);
      await renewer.run("BEGIN");
      await renewer.run(
        `UPDATE runs SET expires_at_ms = now_ms() + 1000 WHERE run_id = '${runId}'`,
      );
      const taken = other.acquireLeases(next, [{ topicId, partition: 0 }]);
      await lab.waiting(1);
      await renewer.run("COMMIT");
      assert.deepEqual(await taken, []);
      const flush = flushOf(runId, 1, [{ topicId, baseOffset: 0 }]);
      assert.deepEqual(await store.commitFlush(flush), { status: "committed" });
    }),
  );

  it(
    "a lease that two runs ask for at once goes to one of them",
    inLab(async (lab) => {
      const stores = await Promise.all([lab.store(), lab.store(), lab.store()]);
      const { topic, runId } = await held(stores[0], 40, 1_000);
      await lab.moveTime(1_000);
      const rivals = stores.map(() => fresh("run"));
      await Promise.all(stores.map((it, i) => startRun(it, rivals[i] ?? "", 60_000)));
      const granted = await Promise.all(
        stores.map((it, i) => it.acquireLeases(rivals[i] ?? "", partitionsOf(topic))),
      );
      const holders = await stores[0].listLeases();
      assert.equal(granted.flat().length, 40);
      assert.ok(holders.every((it) => it.epoch === 2 && it.runId !== runId));
      for (const grant of granted.flat()) {
        assert.equal(holders.find((it) => it.partition === grant.partition)?.runId, grant.runId);
      }
    }),
  );

  it(
    "a deadlock is not applied, and tried again",
    inLab(async (lab) => {
      await server.query(`ALTER DATABASE ${lab.database} SET deadlock_timeout = '100ms'`);
      const [store, rival] = [await lab.store(), lab.session()];
      const before = deadlocks(server);
      // The other one is patient, so that the store's statement is the one that is given up.
      await rival.run("SET deadlock_timeout = '10min'");
      const { topic, topicId, runId } = await held(store, 2);
      await rival.run("BEGIN");
      await rival.run(`SELECT lock_partitions(${arraysOf(topicId, [1])})`);
      const entries = [0, 1].map((partition) => ({ topicId, partition, baseOffset: 0 }));
      const commit = store.commitFlush(flushOf(runId, 1, entries));
      await lab.waiting(1);
      await rival.run(`SELECT lock_partitions(${arraysOf(topicId, [0])})`);
      await rival.run("COMMIT");
      assert.deepEqual(await commit, { status: "committed" });
      assert.deepEqual(await nextOffsets(store, topic), [1, 1]);
      await eventually("the deadlock in the log", () => deadlocks(server) === 1 + before);
    }),
  );

  it(
    "partitions are locked in their order, in whatever order they are asked for",
    inLab(async (lab) => {
      const [store, blocker, looker] = [await lab.store(), lab.session(), lab.session()];
      const { topic, runId } = await held(store, 3);
      const turned = partitionsOf(topic).reverse();
      const calls: readonly (() => Promise<unknown>)[] = [
        () => store.advanceLogStart(turned.map((it) => ({ ...it, logStartOffset: 0 }))),
        () => store.acquireLeases(runId, turned),
        () =>
          store.resolveFlush(
            flushOf(
              runId,
              1,
              turned.map((it) => ({ ...it, baseOffset: 0 })),
            ),
          ),
        () => store.releaseLeases(runId, turned),
        () => store.endRun(runId),
        () => store.deleteTopic(topic.name),
      ];
      for (const [i, call] of calls.entries()) {
        if (i === 4) await store.acquireLeases(runId, turned);
        await blocker.run("BEGIN");
        await blocker.run("SELECT 1 FROM partitions WHERE partition = 1 FOR UPDATE");
        const called = call();
        await lab.waiting(1);
        const free = await looker.run("SELECT partition FROM partitions FOR KEY SHARE SKIP LOCKED");
        const changeable = await looker.run(
          "SELECT partition FROM partitions FOR NO KEY UPDATE SKIP LOCKED",
        );
        await blocker.run("COMMIT");
        await called;
        assert.ok(free.length >= 1, `call ${i}`);
        assert.deepEqual(changeable, [{ partition: 2 }], `call ${i}`);
      }
    }),
  );

  it(
    "a sweep that comes after a commit's check waits for it, and leaves its object",
    inLab(async (lab) => {
      const [store, sweeper, blocker] = [await lab.store(), await lab.store(), lab.session()];
      const { topicId, runId } = await held(store);
      const flush = flushOf(runId, 1, [{ topicId, baseOffset: 0 }]);
      // The commit has looked for its key, holds the row of flush ids, and cannot go on: its own row is being written.
      await blocker.run("BEGIN");
      await blocker.run(
        `INSERT INTO flushes VALUES (-1, '${runId}', 1, 'x', 0, 0, '', '${topicId}', 0, 1)`,
      );
      const commit = store.commitFlush(flush);
      await lab.waiting(1);
      const swept = sweeper.sweepKeys([flush.location.key, "orphan"]);
      await lab.waiting(2);
      await blocker.run("ROLLBACK");
      assert.deepEqual(await commit, { status: "committed" });
      assert.deepEqual(await swept, ["orphan"]);
    }),
  );

  it(
    "a commit that a sweep of its key comes before is told so, and nothing of it is applied",
    inLab(async (lab) => {
      const [store, sweeper] = [await lab.store(), lab.session()];
      const { topic, topicId, runId } = await held(store);
      const flush = flushOf(runId, 1, [{ topicId, baseOffset: 0 }]);
      await sweeper.run("BEGIN");
      await sweeper.run(`SELECT sweep_keys(ARRAY['${flush.location.key}'])`);
      const commit = store.commitFlush(flush);
      await lab.waiting(1);
      await sweeper.run("COMMIT");
      assert.deepEqual(await commit, { status: "swept" });
      assert.deepEqual(await nextOffsets(store, topic), [0]);
      assert.deepEqual(await store.listFlushes(0, 10), []);
      const again = { ...flush, location: { ...flush.location, key: "another" } };
      assert.deepEqual(await store.commitFlush(again), { status: "committed" });
    }),
  );

  it(
    "a merge that a sweep of its key comes before is told so",
    inLab(async (lab) => {
      const [store, sweeper] = [await lab.store(), lab.session()];
      const { topicId, runId } = await held(store);
      await store.commitFlush(flushOf(runId, 1, [{ topicId, baseOffset: 0, recordCount: 5 }]));
      const merge = mergeOf(topicId, 0, 0, [5]);
      await sweeper.run("BEGIN");
      await sweeper.run(`SELECT sweep_keys(ARRAY['${merge.location.key}'])`);
      const commit = store.commitMerge(runId, merge);
      await lab.waiting(1);
      await sweeper.run("COMMIT");
      assert.equal(await commit, "swept");
      assert.deepEqual(await store.listMerges(0, 10), []);
    }),
  );

  it(
    "flush ids become visible in their order: a later one waits for an earlier one's commit",
    inLab(async (lab) => {
      const [store, reader, earlier] = [await lab.store(), await lab.store(), lab.session()];
      const { topicId, runId } = await held(store);
      await earlier.run("BEGIN");
      await earlier.run("UPDATE counters SET value = value + 1 WHERE name = 'flush_id'");
      await earlier.run(
        `INSERT INTO flushes SELECT value, 'another', 1, 'x', 0, 0, '\\x0100', '${topicId}', 0, 1 ` +
          "FROM counters WHERE name = 'flush_id'",
      );
      const commit = store.commitFlush(flushOf(runId, 1, [{ topicId, baseOffset: 0 }]));
      await lab.waiting(1);
      assert.deepEqual(await reader.listFlushes(0, 10), []);
      await earlier.run("COMMIT");
      await commit;
      const ids = (await reader.listFlushes(0, 10)).map((it) => [it.flushId, it.runId]);
      assert.deepEqual(ids, [
        [1, "another"],
        [2, runId],
      ]);
    }),
  );

  it(
    "a reader that follows flush ids misses none while four agents commit, and no lock is waited for in a circle",
    inLab(async (lab) => {
      const stores = await Promise.all([0, 1, 2, 3].map(() => lab.store()));
      const topics = await Promise.all(stores.map((it) => held(it, 5)));
      const reader = await lab.store();
      const before = deadlocks(server);
      let over = false;
      const followed: number[] = [];
      const follow = async () => {
        for (let last = false; ; ) {
          const page = await reader.listFlushes(followed.at(-1) ?? 0, 7);
          followed.push(...page.map((it) => it.flushId));
          if (page.length === 0 && last) return;
          last = page.length === 0 && over;
        }
      };
      const commits = stores.map(async (store, i) => {
        const { topic, topicId, runId } = topics[i] ?? assert.fail();
        for (let n = 0; n < 40; n++) {
          const entries = partitionsOf(topic).map((it) => ({ ...it, baseOffset: n }));
          assert.deepEqual(await store.commitFlush(flushOf(runId, n + 1, entries)), {
            status: "committed",
          });
          if (n % 5 === 0) {
            // All agents' partitions, by each agent in another order.
            const others = topics.flatMap((it) => partitionsOf(it.topic));
            const turned = [...others.slice(7 * i), ...others.slice(0, 7 * i)].reverse();
            await store.advanceLogStart(turned.map((it) => ({ ...it, logStartOffset: 0 })));
            await store.acquireLeases(runId, [...partitionsOf(topic)].reverse());
            await reader.lagSnapshot("group", [{ topicId, partition: 0 }]);
          }
        }
      });
      const following = follow();
      await Promise.all(commits);
      over = true;
      await following;
      assert.deepEqual(
        followed,
        Array.from({ length: 160 }, (_, i) => i + 1),
      );
      assert.equal(deadlocks(server), before);
    }),
  );

  it(
    "a log start that rises while flushes are trimmed is not forgotten",
    inLab(async (lab) => {
      const [store, raiser] = [await lab.store(), lab.session()];
      const { topicId, runId } = await held(store);
      for (const [i, baseOffset] of [0, 1, 2].entries()) {
        await store.commitFlush(flushOf(runId, i + 1, [{ topicId, baseOffset }]));
      }
      await store.advanceLogStart([{ topicId, partition: 0, logStartOffset: 1 }]);
      await raiser.run("BEGIN");
      await raiser.run(`SELECT advance_log_starts(${arraysOf(topicId, [0])}, ARRAY[2]::int8[])`);
      const dropped = store.dropDeadFlushes(10);
      await lab.waiting(1);
      await raiser.run("COMMIT");
      const both = [...(await dropped), ...(await store.dropDeadFlushes(10))];
      assert.deepEqual(
        both.map((it) => it.flushSequence),
        [1, 2],
      );
    }),
  );

  it(
    "a topic that is deleted while offsets are committed leaves none behind",
    inLab(async (lab) => {
      const [store, committer] = [await lab.store(), lab.session()];
      const { topic, topicId } = await held(store);
      await committer.run("BEGIN");
      await committer.run(`SELECT 1 FROM partitions WHERE topic_id = '${topicId}' FOR KEY SHARE`);
      await committer.run(`INSERT INTO offsets VALUES ('group', '${topicId}', 0, 1, '', now_ms())`);
      const deleted = store.deleteTopic(topic.name);
      await lab.waiting(1);
      await committer.run("COMMIT");
      await deleted;
      assert.deepEqual(await committer.run("SELECT * FROM offsets"), []);
    }),
  );
});
