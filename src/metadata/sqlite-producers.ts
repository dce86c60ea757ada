/** Producer ids and their epochs, in SQLite. Part of `createSqliteMetadata`. Sequences are in the partitions' packed state. */
import type { MetadataStore } from "./metadata-store.ts";
import { checkProducerEpoch, PRODUCER_EPOCH_MAX, type ProducerIdentity } from "./producer-rules.ts";
import { numberOf } from "./sql-rows.ts";
import type { SqliteDatabase } from "./sqlite-database.ts";

type ProducerStore = Pick<MetadataStore, "allocateProducerId" | "bumpProducerEpoch">;

export function createProducerStore(db: SqliteDatabase): ProducerStore {
  return {
    async allocateProducerId() {
      return db.write("giving out a producer id", () => allocateProducerId(db));
    },
    async bumpProducerEpoch(producerId, producerEpoch) {
      return db.write("raising a producer epoch", () =>
        bumpProducerEpoch(db, producerId, producerEpoch),
      );
    },
  };
}

function allocateProducerId(db: SqliteDatabase): ProducerIdentity {
  const { rowId } = db.run("INSERT INTO producers (epoch) VALUES (0)");
  return { producerId: rowId, producerEpoch: 0 };
}

function bumpProducerEpoch(
  db: SqliteDatabase,
  producerId: number,
  producerEpoch: number,
): ProducerIdentity {
  const row = db.get("SELECT epoch FROM producers WHERE producer_id = ?", producerId);
  checkProducerEpoch({ producerId, producerEpoch }, row && numberOf(row, "epoch"));
  if (producerEpoch >= PRODUCER_EPOCH_MAX) return allocateProducerId(db);
  db.run("UPDATE producers SET epoch = ? WHERE producer_id = ?", producerEpoch + 1, producerId);
  return { producerId, producerEpoch: producerEpoch + 1 };
}
