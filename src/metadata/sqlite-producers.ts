/** Producer ids and their epochs, in SQLite. Part of `createSqliteMetadata`. Sequences are in the partitions' packed state. */
import { StreamHouseError } from "../core/errors.ts";
import type { MetadataStore } from "./metadata-store.ts";
import { numberOf, type SqliteDatabase } from "./sqlite-database.ts";

type ProducerStore = Pick<MetadataStore, "allocateProducerId" | "bumpProducerEpoch">;

interface ProducerIdentity {
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** Epochs are int16 on the wire. */
const PRODUCER_EPOCH_MAX = 32_767;

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
  if (newest >= PRODUCER_EPOCH_MAX) return allocateProducerId(db);
  db.run("UPDATE producers SET epoch = ? WHERE producer_id = ?", newest + 1, producerId);
  return { producerId, producerEpoch: newest + 1 };
}
