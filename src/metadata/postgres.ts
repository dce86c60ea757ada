/**
 * Metadata in PostgreSQL, for many agents. Puts the rooms `postgres-*.ts` together; each method is one transaction. Every time that
 * counts is the database's: the clock that comes in here is for time limits and pauses only. Called by `serve` and by tests.
 */
import type { Clock } from "../core/clock.ts";
import { systemClock } from "../core/clock.ts";
import { createUlid, type RandomBytes, systemRandom } from "../core/ids.ts";
import { type Logger, silentLogger } from "../core/logger.ts";
import { hintedMetadata } from "./hints.ts";
import type { MetadataHint, MetadataStore } from "./metadata-store.ts";
import { createFlushStore } from "./postgres-flushes.ts";
import { createGroupStore } from "./postgres-groups.ts";
import { PostgresHints } from "./postgres-hints.ts";
import { createKeyStore } from "./postgres-keys.ts";
import { createLagStore } from "./postgres-lag.ts";
import { createLeaseStore } from "./postgres-leases.ts";
import { createMergeStore } from "./postgres-merges.ts";
import { migratePostgres } from "./postgres-migrations.ts";
import { type PostgresOptions, resolvePostgresOptions } from "./postgres-options.ts";
import { PostgresPool } from "./postgres-pool.ts";
import { createProducerStore } from "./postgres-producers.ts";
import { createTopicStore } from "./postgres-topics.ts";
import { createTrimStore } from "./postgres-trims.ts";

/** The ports that the PostgreSQL metadata uses. Each has a default. */
export interface PostgresMetadataComponents {
  /** For time limits and pauses. What is stored has the database's time. Default: the process's own. */
  readonly clock?: Clock | undefined;
  /** For topic ids and jitter. Default: the platform's generator. */
  readonly random?: RandomBytes | undefined;
  /** Is warned once if a fail-over, or a power cut, could lose what was acknowledged. Default: says nothing. */
  readonly logger?: Logger | undefined;
}

/**
 * Connects, and makes or migrates the tables. Many agents may do it at the same time.
 * @throws StreamHouseError `INVALID_ARGUMENT`, `METADATA_TOO_NEW`, `METADATA_UNAVAILABLE`
 */
export async function createPostgresMetadata(
  components: PostgresMetadataComponents,
  options: PostgresOptions,
): Promise<MetadataStore> {
  const { clock = systemClock, random = systemRandom, logger = silentLogger } = components;
  const resolved = resolvePostgresOptions(options);
  const pool = new PostgresPool(resolved, { clock, random, logger });
  await migratePostgres(resolved, { servers: pool.servers, clock });
  const store: Omit<MetadataStore, "watch"> = {
    kind: "postgres",
    ...createTopicStore(pool, random),
    ...createLeaseStore(pool),
    ...createFlushStore(pool),
    ...createTrimStore(pool),
    ...createMergeStore(pool, random),
    ...createProducerStore(pool),
    ...createGroupStore(pool),
    ...createLagStore(pool),
    ...createKeyStore(pool),
    close: () => pool.close(),
  };
  return watched(hintedMetadata(store, { clock }), pool, { clock, random, logger });
}

/** Local changes wake those who watch here, and are told to the other agents; theirs wake those who watch here. */
function watched(
  store: MetadataStore,
  pool: PostgresPool,
  components: { readonly clock: Clock; readonly random: RandomBytes; readonly logger: Logger },
): MetadataStore {
  const watchers = new Set<{ readonly wake: (hint: MetadataHint) => void }>();
  const wake = (hint: MetadataHint): void => {
    for (const watcher of [...watchers]) if (watchers.has(watcher)) watcher.wake(hint);
  };
  const { clock, random } = components;
  const storeId = createUlid(clock.now(), random);
  const hints = new PostgresHints({ ...components, pool, storeId, wake });
  store.watch((hint) => {
    wake(hint);
    hints.tell(hint);
  });
  return {
    ...store,
    watch(wakeMe) {
      hints.listen();
      const watcher = { wake: wakeMe };
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    async close() {
      watchers.clear();
      await hints.close();
      await store.close();
    },
  };
}
