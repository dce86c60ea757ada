/** Producer ids and their epochs, in PostgreSQL. Part of `createPostgresMetadata`. Sequences are in the partitions' packed state. */
import type { MetadataStore } from "./metadata-store.ts";
import type { PostgresPool, PostgresTransaction } from "./postgres-pool.ts";
import { checkProducerEpoch, PRODUCER_EPOCH_MAX, type ProducerIdentity } from "./producer-rules.ts";
import { numberOf } from "./sql-rows.ts";

type ProducerStore = Pick<MetadataStore, "allocateProducerId" | "bumpProducerEpoch">;

const ALLOCATE = "INSERT INTO producers (epoch) VALUES (0) RETURNING producer_id";

export function createProducerStore(pool: PostgresPool): ProducerStore {
  return {
    async allocateProducerId() {
      const [row = {}] = await pool.run({ doing: "giving out a producer id" }, ALLOCATE);
      return { producerId: numberOf(row, "producer_id"), producerEpoch: 0 };
    },
    async bumpProducerEpoch(producerId, producerEpoch) {
      return pool.transaction({ doing: "raising a producer epoch" }, (tx) =>
        bumpProducerEpoch(tx, producerId, producerEpoch),
      );
    },
  };
}

async function bumpProducerEpoch(
  tx: PostgresTransaction,
  producerId: number,
  producerEpoch: number,
): Promise<ProducerIdentity> {
  const row = await tx.get(
    "SELECT epoch FROM producers WHERE producer_id = $1 FOR NO KEY UPDATE",
    producerId,
  );
  checkProducerEpoch({ producerId, producerEpoch }, row && numberOf(row, "epoch"));
  if (producerEpoch >= PRODUCER_EPOCH_MAX) {
    return {
      producerId: numberOf((await tx.get(ALLOCATE)) ?? {}, "producer_id"),
      producerEpoch: 0,
    };
  }
  await tx.all(
    "UPDATE producers SET epoch = $2 WHERE producer_id = $1",
    producerId,
    producerEpoch + 1,
  );
  return { producerId, producerEpoch: producerEpoch + 1 };
}
