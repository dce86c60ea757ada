/** Producer ids and their epochs, in PostgreSQL. Part of `createPostgresMetadata`. Sequences are in the partitions' packed state. */
import { StreamHouseError } from "../core/errors.ts";
import type { MetadataStore } from "./metadata-store.ts";
import type { PostgresPool, PostgresTransaction } from "./postgres-pool.ts";
import { numberOf } from "./sql-rows.ts";

type ProducerStore = Pick<MetadataStore, "allocateProducerId" | "bumpProducerEpoch">;

/** Epochs are int16 on the wire. */
const PRODUCER_EPOCH_MAX = 32_767;
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
): Promise<{ producerId: number; producerEpoch: number }> {
  const row = await tx.get(
    "SELECT epoch FROM producers WHERE producer_id = $1 FOR NO KEY UPDATE",
    producerId,
  );
  if (row === undefined) {
    throw new StreamHouseError({
      code: "UNKNOWN_PRODUCER",
      kind: "fenced",
      message: `producer id ${producerId} was never given out here: ask for a new one`,
    });
  }
  const newest = numberOf(row, "epoch");
  if (producerEpoch !== newest) {
    throw new StreamHouseError({
      code: "PRODUCER_FENCED",
      kind: "fenced",
      message:
        `producer ${producerId} has epoch ${newest}, ${producerEpoch} was given: another instance took ` +
        "over; make a new producer",
    });
  }
  // Used up: an id that was never used goes on with its epochs from 0.
  if (newest >= PRODUCER_EPOCH_MAX) {
    return {
      producerId: numberOf((await tx.get(ALLOCATE)) ?? {}, "producer_id"),
      producerEpoch: 0,
    };
  }
  await tx.all("UPDATE producers SET epoch = $2 WHERE producer_id = $1", producerId, newest + 1);
  return { producerId, producerEpoch: newest + 1 };
}
