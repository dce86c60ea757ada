/** Runs and their leases, in SQLite. Part of `createSqliteMetadata`. */
import { StreamHouseError } from "../core/errors.ts";
import type { TopicPartition } from "../core/topic.ts";
import type { AgentLoad, AgentRun, LeaseGrant, MetadataStore } from "./metadata-store.ts";
import { bytesOf, numberOf, type SqlRow, textOf } from "./sql-rows.ts";
import type { SqliteDatabase } from "./sqlite-database.ts";

type LeaseStore = Pick<
  MetadataStore,
  | "startRun"
  | "renewRun"
  | "retireRun"
  | "endRun"
  | "listRuns"
  | "acquireLeases"
  | "releaseLeases"
  | "listLeases"
>;

export function createLeaseStore(db: SqliteDatabase): LeaseStore {
  return {
    async startRun(run) {
      return db.write("starting a run", (nowMs) => startRun(db, run, nowMs));
    },
    async renewRun(runId, ttlMs, load) {
      return db.write("renewing a run", (nowMs) => {
        // A renewal that says nothing of the load leaves what was said before.
        const sql = "UPDATE runs SET expires_at_ms = ?, load = coalesce(?, load) WHERE run_id = ?";
        const text = load === undefined ? null : JSON.stringify(load);
        return db.run(sql, nowMs + ttlMs, text, runId).changes === 1;
      });
    },
    async retireRun(runId) {
      db.write("retiring a run", () => {
        db.run("UPDATE runs SET retiring = 1 WHERE run_id = ?", runId);
      });
    },
    async endRun(runId) {
      db.write("ending a run", () => endRun(db, runId));
    },
    async listRuns() {
      return db.read("listing runs", (nowMs) =>
        db.all("SELECT * FROM runs ORDER BY run_id").map((row) => runOf(row, nowMs)),
      );
    },
    async acquireLeases(runId, partitions) {
      return db.write("taking leases", (nowMs) => acquireLeases(db, runId, partitions, nowMs));
    },
    async releaseLeases(runId, partitions) {
      const sql =
        "UPDATE partitions SET run_id = NULL WHERE topic_id = ? AND partition = ? AND run_id = ?";
      db.write("releasing leases", () => {
        for (const it of partitions) db.run(sql, it.topicId, it.partition, runId);
      });
    },
    async listLeases(topicId) {
      const one = topicId === undefined ? "" : "AND topic_id = ? ";
      const sql =
        `SELECT topic_id, partition, run_id, epoch FROM partitions WHERE run_id IS NOT NULL ${one}` +
        "ORDER BY topic_id, partition";
      const wanted = topicId === undefined ? [] : [topicId];
      return db.read("listing leases", () =>
        db.all(sql, ...wanted).map((row) => ({
          topicId: textOf(row, "topic_id"),
          partition: numberOf(row, "partition"),
          runId: textOf(row, "run_id"),
          epoch: numberOf(row, "epoch"),
        })),
      );
    },
  };
}

function startRun(
  db: SqliteDatabase,
  run: Parameters<MetadataStore["startRun"]>[0],
  nowMs: number,
): AgentRun {
  const { runId, agentId, address } = run;
  if (db.get("SELECT 1 FROM runs WHERE run_id = ?", runId) !== undefined) {
    throw new StreamHouseError({
      code: "INTERNAL",
      kind: "internal",
      message: `run ${runId} was started already: every start needs an id of its own`,
    });
  }
  if (run.predecessorsDead) {
    db.run("UPDATE partitions SET run_id = NULL WHERE run_id IS NOT NULL");
    db.run("DELETE FROM runs");
  }
  const expiresAtMs = nowMs + run.ttlMs;
  db.run(
    "INSERT INTO runs (run_id, agent_id, address, started_at_ms, expires_at_ms) VALUES (?, ?, ?, ?, ?)",
    runId,
    agentId,
    address,
    nowMs,
    expiresAtMs,
  );
  const isLive = expiresAtMs > nowMs;
  const fresh = { isLive, isRetiring: false, load: undefined };
  return { runId, agentId, address, startedAtMs: nowMs, expiresAtMs, ...fresh };
}

/** Frees its partitions (their epochs stay, and rise when somebody takes them) and forgets it. */
function endRun(db: SqliteDatabase, runId: string): void {
  db.run("UPDATE partitions SET run_id = NULL WHERE run_id = ?", runId);
  db.run("DELETE FROM runs WHERE run_id = ?", runId);
}

function acquireLeases(
  db: SqliteDatabase,
  runId: string,
  partitions: readonly TopicPartition[],
  nowMs: number,
): LeaseGrant[] {
  if (!isLive(db, runId, nowMs)) {
    throw new StreamHouseError({
      code: "LEASE_LOST",
      kind: "fenced",
      message: `run ${runId} is over (ended, or its time ran out), it can take no lease: start a new run`,
    });
  }
  const grants: LeaseGrant[] = [];
  for (const it of partitions) {
    const grant = acquireLease(db, runId, it, nowMs);
    if (grant !== undefined) grants.push(grant);
  }
  return grants;
}

function acquireLease(
  db: SqliteDatabase,
  runId: string,
  it: TopicPartition,
  nowMs: number,
): LeaseGrant | undefined {
  const row = db.get(
    "SELECT p.next_offset, p.log_start, p.run_id, p.epoch, s.state FROM partitions p " +
      "LEFT JOIN producer_states s ON s.topic_id = p.topic_id AND s.partition = p.partition " +
      "WHERE p.topic_id = ? AND p.partition = ?",
    it.topicId,
    it.partition,
  );
  if (row === undefined) return undefined;
  const holder = row.run_id === null ? undefined : textOf(row, "run_id");
  let epoch = numberOf(row, "epoch");
  if (holder !== runId) {
    if (holder !== undefined) {
      if (isLive(db, holder, nowMs)) return undefined;
      // A take-over ends the run whole: it must not be renewed and believe that it still holds everything.
      endRun(db, holder);
    }
    epoch += 1;
    db.run(
      "UPDATE partitions SET run_id = ?, epoch = ? WHERE topic_id = ? AND partition = ?",
      runId,
      epoch,
      it.topicId,
      it.partition,
    );
  }
  return {
    topicId: it.topicId,
    partition: it.partition,
    runId,
    epoch,
    nextOffset: numberOf(row, "next_offset"),
    logStartOffset: numberOf(row, "log_start"),
    producerState: row.state === null ? null : bytesOf(row, "state"),
  };
}

/** Whether the run is known and its time has not run out. Also asked by each flush commit. */
export function isLive(db: SqliteDatabase, runId: string, nowMs: number): boolean {
  const row = db.get("SELECT expires_at_ms FROM runs WHERE run_id = ?", runId);
  return row !== undefined && numberOf(row, "expires_at_ms") > nowMs;
}

function runOf(row: SqlRow, nowMs: number): AgentRun {
  const expiresAtMs = numberOf(row, "expires_at_ms");
  return {
    runId: textOf(row, "run_id"),
    agentId: textOf(row, "agent_id"),
    address: textOf(row, "address"),
    startedAtMs: numberOf(row, "started_at_ms"),
    expiresAtMs,
    isLive: expiresAtMs > nowMs,
    isRetiring: numberOf(row, "retiring") === 1,
    load: row.load === null ? undefined : (JSON.parse(textOf(row, "load")) as AgentLoad),
  };
}
