/** Runs and their leases, in PostgreSQL. Part of `createPostgresMetadata`. */
import { StreamHouseError } from "../core/errors.ts";
import type { AgentLoad, AgentRun, LeaseGrant, MetadataStore } from "./metadata-store.ts";
import { LEASE_LOST, sqlState } from "./postgres-errors.ts";
import { canExist, isTopicId, numbersOf, partitionOf, topicsOf } from "./postgres-partitions.ts";
import type { PostgresPool } from "./postgres-pool.ts";
import { booleanOf, bytesOf, numberOf, type SqlRow, textOf } from "./sql-rows.ts";

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

export function createLeaseStore(pool: PostgresPool): LeaseStore {
  return {
    startRun: (run) => startRun(pool, run),
    async renewRun(runId, ttlMs, load) {
      const rows = await pool.run(
        { doing: "renewing a run", urgent: true },
        // A renewal that says nothing of the load leaves what was said before.
        "UPDATE runs SET expires_at_ms = now_ms() + $2::int8, load = coalesce($3, load) " +
          "WHERE run_id = $1 RETURNING true",
        runId,
        ttlMs,
        load === undefined ? null : JSON.stringify(load),
      );
      return rows.length === 1;
    },
    async retireRun(runId) {
      const sql = "UPDATE runs SET retiring = true WHERE run_id = $1";
      await pool.run({ doing: "retiring a run", urgent: true }, sql, runId);
    },
    async endRun(runId) {
      await pool.run({ doing: "ending a run", urgent: true }, "SELECT end_run($1)", runId);
    },
    async listRuns() {
      const rows = await pool.run(
        { doing: "listing runs", reads: true },
        "SELECT run_id, agent_id, address, started_at_ms, expires_at_ms, retiring, load, " +
          "expires_at_ms > (SELECT now_ms()) AS live FROM runs ORDER BY run_id",
      );
      return rows.map(runOf);
    },
    acquireLeases: (runId, partitions) => acquireLeases(pool, runId, partitions),
    async releaseLeases(runId, partitions) {
      const asked = partitions.filter(canExist);
      await pool.run(
        { doing: "releasing leases", urgent: true },
        "SELECT release_leases($1, $2::uuid[], $3::int4[])",
        runId,
        topicsOf(asked),
        numbersOf(asked),
      );
    },
    async listLeases(topicId) {
      if (topicId !== undefined && !isTopicId(topicId)) return [];
      const of = topicId === undefined ? "" : "AND topic_id = $1 ";
      const rows = await pool.run(
        { doing: "listing leases", reads: true },
        "SELECT topic_id, partition, run_id, epoch FROM partitions WHERE run_id IS NOT NULL " +
          `${of}ORDER BY topic_id, partition`,
        ...(topicId === undefined ? [] : [topicId]),
      );
      return rows.map((row) => ({
        ...partitionOf(row),
        runId: textOf(row, "run_id"),
        epoch: numberOf(row, "epoch"),
      }));
    },
  };
}

async function startRun(
  pool: PostgresPool,
  run: Parameters<MetadataStore["startRun"]>[0],
): Promise<AgentRun> {
  const { runId, agentId, address, ttlMs, predecessorsDead } = run;
  const [row = {}] = await pool
    .run(
      { doing: "starting a run" },
      "SELECT started, expires, expires > now_ms() AS live FROM start_run($1, $2, $3, $4, $5)",
      runId,
      agentId,
      address,
      ttlMs,
      predecessorsDead,
    )
    .catch((error) => {
      if (sqlState(error?.cause) !== UNIQUE) throw error;
      throw new StreamHouseError({
        code: "INTERNAL",
        kind: "internal",
        message: `run ${runId} was started already: every start needs an id of its own`,
        cause: error,
      });
    });
  return {
    runId,
    agentId,
    address,
    startedAtMs: numberOf(row, "started"),
    expiresAtMs: numberOf(row, "expires"),
    isLive: booleanOf(row, "live"),
    isRetiring: false,
    load: undefined,
  };
}

const UNIQUE = "23505";

async function acquireLeases(
  pool: PostgresPool,
  runId: string,
  partitions: Parameters<MetadataStore["acquireLeases"]>[1],
): Promise<LeaseGrant[]> {
  const asked = partitions.filter(canExist);
  const rows = await pool
    .run(
      { doing: "taking leases", urgent: true },
      "SELECT topic AS topic_id, part AS partition, lease_epoch, next_off, start_off, producer_state " +
        "FROM acquire_leases($1, $2::uuid[], $3::int4[])",
      runId,
      topicsOf(asked),
      numbersOf(asked),
    )
    .catch((error) => {
      if (sqlState(error?.cause) !== LEASE_LOST) throw error;
      throw new StreamHouseError({
        code: "LEASE_LOST",
        kind: "fenced",
        message: `run ${runId} is over (ended, or its time ran out), it can take no lease: start a new run`,
      });
    });
  return rows.map((row) => ({
    ...partitionOf(row),
    runId,
    epoch: numberOf(row, "lease_epoch"),
    nextOffset: numberOf(row, "next_off"),
    logStartOffset: numberOf(row, "start_off"),
    producerState: row.producer_state === null ? null : bytesOf(row, "producer_state"),
  }));
}

function runOf(row: SqlRow): AgentRun {
  return {
    runId: textOf(row, "run_id"),
    agentId: textOf(row, "agent_id"),
    address: textOf(row, "address"),
    startedAtMs: numberOf(row, "started_at_ms"),
    expiresAtMs: numberOf(row, "expires_at_ms"),
    isLive: booleanOf(row, "live"),
    isRetiring: booleanOf(row, "retiring"),
    load: row.load === null ? undefined : (JSON.parse(textOf(row, "load")) as AgentLoad),
  };
}
