/** Broken connections to a real PostgreSQL: what becomes of statements without an answer, and how the store comes back. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import { POSTGRES_PASSWORD } from "../../scripts/backends/postgres-server.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import type {
  FlushCommit,
  MetadataHint,
  MetadataStore,
} from "../../src/metadata/metadata-store.ts";
import { createPostgresMetadata } from "../../src/metadata/postgres.ts";
import { code, flushOf, fresh } from "../../src/testing/contracts/metadata-subject.ts";
import { eventually } from "../integration/child.ts";
import { arraysOf, held, nextOffsets, PostgresLab } from "./postgres-lab.ts";
import { PostgresProxy } from "./postgres-proxy.ts";

function unavailable(outcome: "none" | "unknown"): (error: unknown) => boolean {
  return (error) => {
    assert.ok(StreamHouseError.is(error), String(error));
    assert.deepEqual([error.code, error.outcome], ["METADATA_UNAVAILABLE", outcome], error.message);
    assert.equal(error.retriable, true);
    return true;
  };
}

/**
 * A flush, so that its statement is prepared and is one message from then on. Resolves when others have been told of it: nothing
 * else is then under way on the store's connections.
 */
async function prepare(lab: PostgresLab, store: MetadataStore, flush: FlushCommit): Promise<void> {
  const heard: MetadataHint[] = [];
  const end = (await lab.store()).watch((hint) => void heard.push(hint));
  await eventually("the first words", () => heard.length >= 2);
  heard.length = 0;
  assert.deepEqual(await store.commitFlush(flush), { status: "committed" });
  await eventually("a hint of the flush", () => heard.includes("log"));
  end();
  const session = lab.session();
  await eventually("an idle store", async () => {
    const rows = await session.run(
      "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' " +
        "AND pid <> pg_backend_pid()",
    );
    return rows.length === 0;
  });
}

describe("connections to PostgreSQL", () => {
  let server: PostgresServer;
  let proxy: PostgresProxy;
  before(async () => {
    server = await startPostgres();
    proxy = await PostgresProxy.start(server.port);
  });
  after(async () => {
    await proxy.stop();
    await server.remove();
  });

  const inLab = (test: (lab: PostgresLab) => Promise<void>) =>
    PostgresLab.with(
      () => server,
      async (lab) => {
        try {
          await test(lab);
        } finally {
          proxy.mode = "open";
        }
      },
    );

  it(
    "a commit whose answer is lost is unknown, is found when it is resolved, and is not applied twice",
    inLab(async (lab) => {
      const store = await lab.store({ url: proxy.urlOf(lab.url) });
      const { topic, topicId, runId } = await held(store);
      await prepare(lab, store, flushOf(runId, 1, [{ topicId, baseOffset: 0 }]));
      const flush = flushOf(runId, 2, [{ topicId, baseOffset: 1, recordCount: 3 }]);
      proxy.mode = "loseAnswers";
      await assert.rejects(store.commitFlush(flush), unavailable("unknown"));
      proxy.mode = "open";
      assert.equal(await store.resolveFlush(flush), "committed");
      assert.deepEqual(await store.commitFlush(flush), { status: "committed" });
      assert.equal((await store.listFlushes(0, 10)).length, 2);
      assert.deepEqual(await nextOffsets(store, topic), [4]);
    }),
  );

  it(
    "a commit that was on its way when it was resolved as absent never arrives",
    inLab(async (lab) => {
      const store = await lab.store({ url: proxy.urlOf(lab.url) });
      const { topic, topicId, runId } = await held(store);
      await prepare(lab, store, flushOf(runId, 1, [{ topicId, baseOffset: 0 }]));
      const flush = flushOf(runId, 2, [{ topicId, baseOffset: 1 }]);
      proxy.mode = "hold";
      const refused = assert.rejects(store.commitFlush(flush), unavailable("unknown"));
      await eventually("the commit at the proxy", () => proxy.heldBytes > 0);
      proxy.cutOff();
      await refused;
      proxy.mode = "open";
      assert.equal(await store.resolveFlush(flush), "absent");
      proxy.deliver();
      // Another flush of the same place is committed, and the straggler's is not there: now, and when its session has ended.
      const other = flushOf(runId, 3, [{ topicId, baseOffset: 1 }]);
      await eventually("the end of the cut session", async () => {
        const rows = await server.query(
          `SELECT 1 FROM pg_stat_activity WHERE datname = '${lab.database}' AND state = 'active'`,
        );
        return rows.length === 0;
      });
      assert.deepEqual(await store.commitFlush(other), { status: "committed" });
      const sequences = (await store.listFlushes(0, 10)).map((it) => it.flushSequence);
      assert.deepEqual(sequences, [1, 3]);
      assert.deepEqual(await nextOffsets(store, topic), [2]);
    }),
  );

  it(
    "a commit that waits for a lock when its connection breaks is resolved to what it stays",
    inLab(async (lab) => {
      const [store, blocker] = [await lab.store({ url: proxy.urlOf(lab.url) }), lab.session()];
      const { topicId, runId } = await held(store);
      await blocker.run("BEGIN");
      await blocker.run("UPDATE counters SET value = value WHERE name = 'flush_id'");
      const flush = flushOf(runId, 1, [{ topicId, baseOffset: 0 }]);
      const refused = assert.rejects(store.commitFlush(flush), unavailable("unknown"));
      await lab.waiting(1);
      proxy.cutOff();
      await refused;
      const resolved = await store.resolveFlush(flush);
      await blocker.run("COMMIT");
      await lab.waiting(0);
      const there = (await store.listFlushes(0, 10)).length === 1 ? "committed" : "absent";
      assert.equal(resolved, there);
    }),
  );

  it(
    "a connection that says nothing is given up, and the next call has another",
    inLab(async (lab) => {
      const url = proxy.urlOf(lab.url);
      const store = await lab.store({ url, statementTimeoutMs: 300 });
      await store.listTopics();
      proxy.mode = "silent";
      await assert.rejects(
        store.createTopic({ name: "silent", partitions: 1, retentionMs: 0 }),
        unavailable("none"),
      );
      proxy.mode = "open";
      await store.createTopic({ name: "silent", partitions: 1, retentionMs: 0 });
      assert.equal((await store.listTopics()).length, 1);
    }),
  );

  it(
    "reads go on over a broken connection, and nobody sees it",
    inLab(async (lab) => {
      const store = await lab.store({ url: proxy.urlOf(lab.url) });
      await held(store);
      for (let i = 0; i < 5; i++) {
        proxy.cutOff();
        assert.equal((await store.listTopics()).length, 1);
      }
    }),
  );

  it(
    "a network that breaks connections while they are made is asked again",
    inLab(async (lab) => {
      const store = await lab.store({ url: proxy.urlOf(lab.url) });
      await held(store);
      proxy.cutOff();
      proxy.breaks = 3;
      assert.equal((await store.listTopics()).length, 1);
      assert.equal(proxy.breaks, 0);
    }),
  );

  it(
    "hints of other agents are heard, and again after the connection broke",
    inLab(async (lab) => {
      const [store, other] = [await lab.store({ url: proxy.urlOf(lab.url) }), await lab.store()];
      const heard: MetadataHint[] = [];
      const end = store.watch((hint) => void heard.push(hint));
      const topic = () => other.createTopic({ name: fresh("t"), partitions: 1, retentionMs: 0 });
      const listeners = async () => {
        const rows = await server.query(
          `SELECT 1 FROM pg_stat_activity WHERE datname = '${lab.database}' AND query LIKE 'LISTEN%'`,
        );
        return rows.length === 1;
      };
      await eventually("the first listener", listeners);
      await eventually("the first words", () => heard.length >= 2);
      heard.length = 0;
      await topic();
      await eventually("a hint", () => heard.includes("assignment"));
      proxy.cutOff();
      heard.length = 0;
      // Something may have been missed: whoever watches is woken, whatever happened.
      await eventually("both hints", () => heard.includes("assignment") && heard.includes("log"));
      heard.length = 0;
      await topic();
      await eventually("a hint again", () => heard.includes("assignment"));
      end();
    }),
  );

  it(
    "while nothing can be heard, who watches is woken to look by itself",
    inLab(async (lab) => {
      const store = await lab.store({ url: proxy.urlOf(lab.url), connectTimeoutMs: 200 });
      let woken = 0;
      const end = store.watch(() => woken++);
      await eventually("the first words", () => woken >= 2);
      proxy.mode = "silent";
      proxy.cutOff();
      const before = woken;
      await eventually("three more times", () => woken >= before + 6);
      end();
    }),
  );

  it(
    "more calls than connections wait their turn; who waits too long is told what to do",
    inLab(async (lab) => {
      const store = await lab.store({ connectionsMax: 2, statementTimeoutMs: 2_000 });
      const blocker = lab.session();
      const { topicId, runId } = await held(store);
      const many = await Promise.all(Array.from({ length: 100 }, () => store.listTopics()));
      assert.ok(many.every((it) => it.length === 1));
      const [row] = await server.query(
        `SELECT count(*)::int AS open FROM pg_stat_activity WHERE datname = '${lab.database}' ` +
          "AND application_name = 'streamhouse'",
      );
      assert.ok(Number(row?.open) <= 2, `${row?.open} connections`);
      await blocker.run("BEGIN");
      await blocker.run(`SELECT lock_partitions(${arraysOf(topicId, [0])})`);
      const flush = flushOf(runId, 1, [{ topicId, baseOffset: 0 }]);
      // Two have the connections until their time is over; two more of their kind go before whoever else waits. They come when the first
      // are well under way, so that the connections are free for them before they have waited for too long themselves.
      const stuck = [store.commitFlush(flush), store.commitFlush(flush)];
      for (const call of stuck) call.catch(() => {});
      await eventually("two statements that wait for half a second", async () => {
        const rows = await server.query(
          `SELECT 1 FROM pg_stat_activity WHERE datname = '${lab.database}' AND wait_event_type = 'Lock' ` +
            "AND clock_timestamp() - query_start > '500 ms'",
        );
        return rows.length === 2;
      });
      stuck.push(store.commitFlush(flush), store.commitFlush(flush));
      const told = [
        ...stuck.map((call) => assert.rejects(call, unavailable("none"))),
        assert.rejects(stuck[0] ?? assert.fail(), /statement_timeout/),
        assert.rejects(store.listTopics(), /connections are in use/),
      ];
      await Promise.all(told);
      await blocker.run("COMMIT");
      assert.deepEqual(await store.commitFlush(flush), { status: "committed" });
    }),
  );

  it(
    "a restart of the server is survived, gentle or not",
    inLab(async (lab) => {
      const store = await lab.store();
      const { topicId, runId } = await held(store);
      for (const [i, mode] of (["fast", "immediate"] as const).entries()) {
        await server.stop(mode);
        const flush = flushOf(runId, i + 1, [{ topicId, baseOffset: i }]);
        const down = await store.commitFlush(flush).catch((error: unknown) => error);
        assert.ok(StreamHouseError.is(down) && down.code === "METADATA_UNAVAILABLE");
        await assert.rejects(store.listTopics(), unavailable("none"));
        await server.start();
        assert.equal(await store.resolveFlush(flush), "absent");
        assert.deepEqual(await store.commitFlush(flush), { status: "committed" });
        assert.equal((await store.listFlushes(0, 10)).length, i + 1);
      }
    }),
  );

  it("a commit whose wait for the standby is cancelled is unknown, although the server answers success", async () => {
    // Needs a standby that never answers: the server waits for it, and a cancelled wait answers success with a warning.
    await server.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    const lab = await PostgresLab.open(server);
    try {
      const store = await lab.store();
      const { topicId, runId } = await held(store);
      await server.query("SELECT pg_reload_conf()");
      // The server takes the setting over in its own time: commits before that do not wait.
      let refused: Promise<void> | undefined;
      for (let flush = 0; refused === undefined; flush++) {
        const input = flushOf(runId, flush + 1, [{ topicId, baseOffset: flush }]);
        let settled = false;
        const committing = store.commitFlush(input).finally(() => {
          settled = true;
        });
        const expected = assert.rejects(committing, unavailable("unknown"));
        expected.catch(() => {});
        await eventually("a commit that waits for the standby, or does not", async () => {
          const rows = await server.query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
          );
          if (rows.length === 1) refused = expected;
          return settled || rows.length === 1;
        });
      }
      await refused;
    } finally {
      await server.query("ALTER SYSTEM RESET synchronous_standby_names");
      await server.query("SELECT pg_reload_conf()");
      await lab.close();
    }
  });
});

describe("what is said when PostgreSQL cannot be used", () => {
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server.remove());

  const failure = async (url: string): Promise<StreamHouseError> => {
    const opened = await createPostgresMetadata({}, { url }).catch((error: unknown) => error);
    assert.ok(StreamHouseError.is(opened), "it could be used");
    assert.equal(opened.code, "METADATA_UNAVAILABLE");
    const told = JSON.stringify([opened.message, String(opened.cause), opened.cause, opened.stack]);
    assert.ok(!told.includes(POSTGRES_PASSWORD) && !told.includes("wr0ng"), told);
    return opened;
  };

  it("a wrong password, a missing database, a closed port and a standby are told apart, and no password is told", async () => {
    const { url } = server;
    const wrong = await failure(url.replace(POSTGRES_PASSWORD, "wr0ng"));
    assert.match(wrong.message, /password authentication failed.*look at user and password/);
    assert.match((await failure(server.urlOf("none"))).message, /create it \(CREATE DATABASE\)/);
    assert.match((await failure(url.replace(String(server.port), "1"))).message, /server runs/);
    await server.query("ALTER SYSTEM SET default_transaction_read_only = on");
    await server.query("SELECT pg_reload_conf()");
    assert.match((await failure(url)).message, /read-only/);
  });

  it("URLs that are none are refused without being repeated", async () => {
    for (const url of [
      "postgres://",
      "postgres://u:s3cret@h",
      "http://u:s3cret@h/d",
      "postgres://u:s3%zzcret@h/d",
      "postgres://u:s3cret@h:0/d",
      "postgres://u:s3cret@h/d?sslmode=maybe",
    ]) {
      const opened = createPostgresMetadata({}, { url });
      await assert.rejects(opened, code("INVALID_ARGUMENT"));
      await assert.rejects(opened, (error: Error) => !error.message.includes("s3"));
    }
  });
});
