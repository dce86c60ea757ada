/**
 * The packed producer state of one partition, as it lies in metadata beside the partition's next offset. The only
 * room that knows its layout: version 1, then varints:
 * count, and for each producer: id, epoch, time of last write, number of remembered batches, and for
 * each of those, oldest first: base sequence, record count, base offset.
 */
import { StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { VarintReader, varintSize, writeVarint } from "../format/varint.ts";

/** A committed batch of a producer. */
export interface RememberedBatch {
  readonly baseSequence: number;
  readonly recordCount: number;
  readonly baseOffset: number;
}

/** What is known of one producer in one partition. */
export interface ProducerSnapshot {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** Ms since 1970. */
  readonly lastWriteMs: number;
  /** The newest five, oldest first; at least one. */
  readonly recent: readonly RememberedBatch[];
}

const VERSION = 1;

export function encodeProducerStates(producers: readonly ProducerSnapshot[]): Uint8Array {
  const numbers: number[] = [producers.length];
  for (const producer of producers) {
    const { producerId, producerEpoch, lastWriteMs, recent } = producer;
    numbers.push(producerId, producerEpoch, lastWriteMs, recent.length);
    for (const batch of recent) {
      numbers.push(batch.baseSequence, batch.recordCount, batch.baseOffset);
    }
  }
  let size = 1;
  for (const n of numbers) size += varintSize(n);
  const bytes = new Uint8Array(size);
  bytes[0] = VERSION;
  let at = 1;
  for (const n of numbers) at = writeVarint(bytes, at, n);
  return bytes;
}

/** @throws StreamHouseError `CORRUPT_SEGMENT` (kind `corrupt`) */
export function decodeProducerStates(bytes: Uint8Array): ProducerSnapshot[] {
  if (bytes[0] !== VERSION) {
    throw damaged(`layout version ${bytes[0] ?? "missing"}, expected ${VERSION}`);
  }
  try {
    return readProducers(new VarintReader(bytes, 1));
  } catch (error) {
    if (StreamHouseError.is(error)) throw damaged(error.message);
    throw error;
  }
}

function readProducers(reader: VarintReader): ProducerSnapshot[] {
  const count = bounded(reader, "producers", limits.producersPerPartitionMax);
  const producers: ProducerSnapshot[] = [];
  for (let i = 0; i < count; i++) {
    const producerId = reader.varint();
    const producerEpoch = reader.varint();
    const lastWriteMs = reader.varint();
    const batches = bounded(reader, "batches", limits.sequencesRememberedPerProducer);
    const recent: RememberedBatch[] = [];
    for (let k = 0; k < batches; k++) {
      const baseSequence = reader.varint();
      const recordCount = reader.varint();
      recent.push({ baseSequence, recordCount, baseOffset: reader.varint() });
    }
    if (recent.length === 0) throw damaged(`producer ${producerId} has no batch`);
    producers.push({ producerId, producerEpoch, lastWriteMs, recent });
  }
  if (reader.position !== reader.end) {
    throw damaged(`${reader.end - reader.position} bytes too many`);
  }
  return producers;
}

function bounded(reader: VarintReader, what: string, max: number): number {
  const count = reader.varint();
  if (count > max) throw damaged(`${count} ${what}, at most ${max} are possible`);
  return count;
}

function damaged(why: string): StreamHouseError {
  return new StreamHouseError({
    code: "CORRUPT_SEGMENT",
    kind: "corrupt",
    message: `packed producer state is damaged: ${why}`,
  });
}
