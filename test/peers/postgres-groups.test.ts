/**
 * Consumer groups on one real PostgreSQL, seen by several connections: heartbeats, commits, leaves and the end of sessions that meet in
 * the order that each test says, and a group whose members do anything.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { GroupPlayer, SESSION_MS, settle } from "../../src/testing/contracts/group-player.ts";
import { code, partitionsOf } from "../../src/testing/contracts/metadata-subject.ts";
import { seededRandom } from "../unit/agent/bench-agent.ts";
import { GroupPlay } from "../unit/metadata/group-play.ts";
import { movableClock } from "./movable-clock.ts";
import { PostgresLab } from "./postgres-lab.ts";

const LOCK_GROUP = "SELECT 1 FROM consumer_groups WHERE name = 'g' FOR NO KEY UPDATE";

describe("consumer groups on PostgreSQL", () => {
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server.remove());

  /** Two agents' stores, a topic `t`, and members of the group `g` at either of them. */
  const stage = async (lab: PostgresLab, partitions: number) => {
    const stores = [await lab.store(), await lab.store()] as const;
    const topic = await stores[0].createTopic({ name: "t", partitions, retentionMs: 0 });
    await lab.moveTime(0);
    const player = (memberId: string, store: MetadataStore) =>
      new GroupPlayer(store, { group: "g", memberId, topics: ["t"] });
    const offsets = partitionsOf(topic).map((it) => ({ ...it, offset: 7, metadata: "" }));
    return { stores, topic, player, offsets };
  };

  const inLab = (test: (lab: PostgresLab) => Promise<void>) => PostgresLab.with(() => server, test);

  it(
    "a heartbeat that changes nothing waits for nobody, whoever has the group locked",
    inLab(async (lab) => {
      const { stores, player } = await stage(lab, 2);
      const blocker = lab.session();
      const a = player("a", stores[0]);
      await a.beat();
      await blocker.run("BEGIN");
      await blocker.run(LOCK_GROUP);
      const { assigned } = await a.beat();
      assert.equal(assigned.length, 2);
      const joins = player("b", stores[1]).beat();
      await lab.waiting(1);
      await a.beat();
      await blocker.run("COMMIT");
      assert.equal((await joins).awaited, 1);
    }),
  );

  it(
    "a session that is renewed while somebody looks for ended ones goes on",
    inLab(async (lab) => {
      const { stores, player } = await stage(lab, 2);
      const renewer = lab.session();
      const [a, b] = [player("a", stores[0]), player("b", stores[1])];
      await settle([a, b]);
      await lab.moveTime(SESSION_MS / 2);
      await b.beat();
      await lab.moveTime(SESSION_MS / 2);
      // By the clock the session of `a` is over; its renewal has come before, and is not committed yet.
      await renewer.run("BEGIN");
      await renewer.run(
        `UPDATE members SET expires_at_ms = expires_at_ms + ${SESSION_MS} WHERE member_id = 'a'`,
      );
      const looks = b.beat();
      await lab.waiting(1);
      await renewer.run("COMMIT");
      assert.equal((await looks).assigned.length, 1);
      assert.equal((await a.beat()).assigned.length, 1);
    }),
  );

  it(
    "a heartbeat that an eviction comes before is told that its session is over",
    inLab(async (lab) => {
      const { stores, player } = await stage(lab, 2);
      const blocker = lab.session();
      const [a, b] = [player("a", stores[0]), player("b", stores[1])];
      await settle([a, b]);
      await lab.moveTime(SESSION_MS / 2);
      await b.beat();
      await blocker.run("BEGIN");
      await blocker.run("SELECT 1 FROM assignments FOR UPDATE");
      await lab.moveTime(SESSION_MS / 2);
      const evicts = b.beat();
      await lab.waiting(1);
      const late = assert.rejects(a.beat(), code("UNKNOWN_MEMBER"));
      await blocker.run("COMMIT");
      assert.equal((await evicts).assigned.length, 2);
      await late;
    }),
  );

  it(
    "a partition is given to nobody until a commit for it that has passed its checks is over",
    inLab(async (lab) => {
      const { stores, player, offsets } = await stage(lab, 1);
      const blocker = lab.session();
      const [a, b] = [player("a", stores[0]), player("b", stores[1])];
      await a.beat();
      await b.beat();
      const claim = { memberId: "a", memberEpoch: a.epoch };
      // Its offset's row is being written by somebody else: the commit waits there, behind all its checks.
      await stores[0].commitOffsets("g", claim, offsets);
      await blocker.run("BEGIN");
      await blocker.run("UPDATE offsets SET committed_offset = 1");
      const commit = stores[0].commitOffsets("g", claim, offsets);
      await lab.waiting(1);
      await lab.moveTime(SESSION_MS / 2);
      await b.beat();
      await lab.moveTime(SESSION_MS / 2);
      const takes = b.beat();
      await lab.waiting(2);
      await blocker.run("COMMIT");
      await commit;
      assert.equal((await takes).assigned.length, 1);
      assert.equal((await stores[1].fetchOffsets("g"))[0]?.offset, 7);
      await assert.rejects(stores[0].commitOffsets("g", claim, offsets), code("UNKNOWN_MEMBER"));
    }),
  );

  it(
    "a commit that a take-over comes before is refused, and changes nothing",
    inLab(async (lab) => {
      const { stores, player, offsets } = await stage(lab, 1);
      const taker = lab.session();
      const [a, b] = [player("a", stores[0]), player("b", stores[1])];
      await a.beat();
      await b.beat();
      await taker.run("BEGIN");
      await taker.run("UPDATE assignments SET member_id = 'b', target_id = 'b', epoch = 2");
      const claim = { memberId: "a", memberEpoch: a.epoch };
      const commit = stores[0].commitOffsets("g", claim, offsets);
      const refused = assert.rejects(commit, code("GROUP_FENCED"));
      await lab.waiting(1);
      await taker.run("COMMIT");
      await refused;
      assert.deepEqual(await stores[0].fetchOffsets("g"), []);
    }),
  );

  it(
    "commits of different members do not wait for each other",
    inLab(async (lab) => {
      const { stores, player, offsets } = await stage(lab, 2);
      const blocker = lab.session();
      const [a, b] = [player("a", stores[0]), player("b", stores[1])];
      await settle([a, b]);
      const commit = (it: GroupPlayer, store: MetadataStore) =>
        store.commitOffsets(
          "g",
          { memberId: it.memberId, memberEpoch: it.epoch },
          offsets.filter((one) => it.owned.some((own) => own.partition === one.partition)),
        );
      await commit(a, stores[0]);
      await commit(b, stores[1]);
      await blocker.run("BEGIN");
      const [its = 0] = a.owned.map((it) => it.partition);
      await blocker.run(`UPDATE offsets SET committed_offset = 1 WHERE partition = ${its}`);
      const waits = commit(a, stores[0]);
      await lab.waiting(1);
      await commit(b, stores[1]);
      await b.beat();
      await blocker.run("COMMIT");
      await waits;
    }),
  );

  it(
    "a leave and a heartbeat of one member at the same time leave no partition with it",
    inLab(async (lab) => {
      const { stores, player } = await stage(lab, 2);
      const blocker = lab.session();
      const [a, b] = [player("a", stores[0]), player("b", stores[1])];
      await settle([a, b]);
      await blocker.run("BEGIN");
      await blocker.run("SELECT 1 FROM members WHERE member_id = 'a' FOR UPDATE");
      const leaves = stores[1].leaveGroup("g", "a", { keepPlace: false });
      await lab.waiting(1);
      const beats = a.beat().catch((error: unknown) => error);
      await lab.waiting(2);
      await blocker.run("COMMIT");
      await leaves;
      const told = await beats;
      const described = await stores[0].describeGroup("g");
      assert.deepEqual(
        described?.members.map((it) => it.memberId),
        ["b"],
      );
      await assert.rejects(a.beat(), code("UNKNOWN_MEMBER"), String(told));
      await b.beat();
      assert.equal(b.names.length, 2);
    }),
  );

  it(
    "ten that join at once all get their share, and no lock is waited for in a circle",
    inLab(async (lab) => {
      const { stores, player, topic } = await stage(lab, 20);
      const before = server.log.split("deadlock detected").length;
      const players = Array.from({ length: 10 }, (_, i) =>
        player(`m${i}`, i % 2 === 0 ? stores[0] : stores[1]),
      );
      for (let round = 0; round < 8; round++) {
        await Promise.all(
          players.map(async (it) => {
            await it.beat();
            it.letGo();
          }),
        );
        await stores[0].alterTopic("t", { partitions: topic.partitions });
      }
      await settle(players);
      assert.deepEqual(
        players.map((it) => it.names.length),
        players.map(() => 2),
      );
      assert.equal(new Set(players.flatMap((it) => it.names)).size, 20);
      assert.equal(server.log.split("deadlock detected").length, before);
    }),
  );

  it(
    "whose members do anything never let two read one partition, and share all in the end",
    inLab(async (lab) => {
      const metadata = await lab.store();
      const clock = await movableClock(lab.url);
      let now = 0;
      const advance = async (ms: number) => {
        now += ms;
        await clock.advance(ms);
      };
      const random = seededRandom(7);
      try {
        const world = new GroupPlay({ metadata, random, now: () => now, advance });
        await world.run(250);
        await world.settle();
      } finally {
        await clock.close();
      }
    }),
  );
});
