/** What `for await (const batch of consumer.batches())` gives: records of one partition that were produced together. */
import type { ConsumerRecord } from "../core/record.ts";
import type { Delivery } from "./delivery.ts";
import type { PartitionRef } from "./options.ts";

/** One batch as it was produced, from the consumer's position on. It is finished when the next one is asked for. */
export interface ConsumedBatch extends Iterable<ConsumerRecord>, PartitionRef {
  /** Offset of its first record here: the consumer's position may lie within the batch. */
  readonly firstOffset: number;
  /** Offset of its last record. */
  readonly lastOffset: number;
  /** Its records here. */
  readonly count: number;
  /** When the agent appended it, ms since 1970 by the agent's clock. */
  readonly appendTimestamp: number;
  /** The same records as iterating over the batch. */
  readonly records: readonly ConsumerRecord[];
  /**
   * Commits `lastOffset + 1`, and with it everything before. Does nothing if the group has already committed beyond, or if
   * the partition was seeked meanwhile.
   * @throws StreamHouseError `GROUP_FENCED` if the partition was taken away, and as `Consumer.commit`
   */
  commit(): Promise<void>;
}

/** All that is left of a delivery. `commit` stores an offset of the delivery's partition. */
export function takeBatch(
  delivery: Delivery,
  commit: (delivery: Delivery) => Promise<void>,
): ConsumedBatch {
  const records = delivery.take(Number.POSITIVE_INFINITY);
  const { topic, partition, offset, appendTimestamp } = records[0] as ConsumerRecord;
  return {
    topic,
    partition,
    firstOffset: offset,
    lastOffset: delivery.nextOffset - 1,
    count: records.length,
    appendTimestamp,
    records,
    commit: () => commit(delivery),
    [Symbol.iterator]: () => records[Symbol.iterator](),
  };
}
