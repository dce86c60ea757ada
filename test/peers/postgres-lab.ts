/**
 * What the tests on a real PostgreSQL share: stores over one database, sessions that hold what a test wants held, and a look at who
 * waits for whom. Nothing is timed: a test goes on when the server says that a statement waits.
 */
import assert from "node:assert/strict";
import postgres from "postgres";
import type { PostgresServer } from "../../scripts/backends/postgres.ts";
import type { Topic } from "../../src/core/topic.ts";
import type { LeaseGrant, MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createPostgresMetadata } from "../../src/metadata/postgres.ts";
import type { PostgresOptions } from "../../src/metadata/postgres-options.ts";
import { heldTopic, partitionsOf } from "../../src/testing/contracts/metadata-subject.ts";
import { eventually } from "../integration/child.ts";
import { type MovableClock, movableClock } from "./movable-clock.ts";

/** A session of the test's own, in the schema of the stores. */
export interface Session {
  /** One statement after another, on one connection. */
  run(statement: string): Promise<readonly Record<string, unknown>[]>;
}

export class PostgresLab {
  readonly url: string;
  readonly #server: PostgresServer;
  readonly #stores: MetadataStore[] = [];
  readonly #sessions: postgres.Sql[] = [];
  #clock: MovableClock | undefined;

  private constructor(server: PostgresServer, url: string) {
    this.#server = server;
    this.url = url;
  }

  /** An empty database. */
  static async open(server: PostgresServer): Promise<PostgresLab> {
    return new PostgresLab(server, await server.createDatabase());
  }

  /** A test in an empty database of its own. `server` is asked when it runs: `before` has started it by then. */
  static with(
    server: () => PostgresServer,
    test: (lab: PostgresLab) => Promise<void>,
  ): () => Promise<void> {
    return async () => {
      const lab = await PostgresLab.open(server());
      try {
        await test(lab);
      } finally {
        await lab.close();
      }
    };
  }

  get database(): string {
    return this.url.slice(this.url.lastIndexOf("/") + 1);
  }

  /** Another agent's view of the database. */
  async store(options: Partial<PostgresOptions> = {}): Promise<MetadataStore> {
    const store = await createPostgresMetadata({}, { url: this.url, ...options });
    this.#stores.push(store);
    return store;
  }

  session(): Session {
    const sql = postgres(this.url, {
      max: 1,
      onnotice: () => {},
      connection: { search_path: "streamhouse" },
    });
    this.#sessions.push(sql);
    return { run: async (statement) => [...(await sql.unsafe(statement))] };
  }

  /** From now on time stands in this database, until it is moved. */
  async moveTime(byMs: number): Promise<void> {
    this.#clock ??= await movableClock(this.url);
    await this.#clock.advance(byMs);
  }

  /** Resolves when so many statements of this database wait for a lock. */
  async waiting(count: number): Promise<void> {
    await eventually(`${count} statements waiting for locks`, async () => {
      const rows = await this.#server.query(
        "SELECT count(*)::int AS waiting FROM pg_stat_activity " +
          `WHERE datname = '${this.database}' AND wait_event_type = 'Lock'`,
      );
      return Number(rows[0]?.waiting) === count;
    });
  }

  async close(): Promise<void> {
    for (const store of this.#stores) await store.close();
    for (const sql of this.#sessions) await sql.end({ timeout: 1 });
    await this.#clock?.close();
  }
}

/** A topic held by a run of `store`, for time limits that a test moves. */
export async function held(
  store: MetadataStore,
  partitions = 1,
  ttlMs = 60_000,
): Promise<{
  readonly topic: Topic;
  readonly topicId: string;
  readonly runId: string;
  readonly grants: readonly LeaseGrant[];
}> {
  const made = await heldTopic(store, partitions, ttlMs);
  return { ...made, topicId: made.topic.id };
}

/** The next offsets of a topic, by partition. */
export async function nextOffsets(store: MetadataStore, topic: Topic): Promise<readonly number[]> {
  const bounds = await store.partitionBounds(partitionsOf(topic));
  assert.equal(bounds.length, topic.partitions);
  return bounds.map((it) => it.nextOffset);
}

/** For statements of a session: an array of one topic's partitions. */
export function arraysOf(topicId: string, partitions: readonly number[]): string {
  const topics = partitions.map(() => `'${topicId}'`).join(",");
  return `ARRAY[${topics}]::uuid[], ARRAY[${partitions.join(",")}]::int4[]`;
}
