/** `for await (const batch of consumer.batches())`: the records of one partition that were appended together. */
import type { ConsumerRecord } from "../core/record.ts";
import type { Delivery } from "./delivery.ts";
import type { PartitionRef } from "./options.ts";
import type { IterationStart } from "./record-iterator.ts";

/** One batch as it was produced, from the consumer's position on. It is finished when the next one is asked for. */
export interface ConsumedBatch extends Iterable<ConsumerRecord>, PartitionRef {
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly count: number;
  /** When the agent appended it, ms since 1970 by the agent's clock. */
  readonly appendTimestamp: number;
  /** The same records as iterating over the batch. */
  readonly records: readonly ConsumerRecord[];
  /**
   * Commits `lastOffset + 1`, and with it everything before. Does nothing if the group has already committed beyond.
   * @throws StreamHouseError `GROUP_FENCED` if the partition was taken away, and as `Consumer.commit`
   */
  commit(): Promise<void>;
}

/** Called by the consumer. `commit` commits up to where the delivery's partition was given out. */
export async function* iterateBatches(
  start: IterationStart,
  commit: (delivery: Delivery) => Promise<void>,
): AsyncGenerator<ConsumedBatch, undefined, undefined> {
  const { reader, signal } = start;
  const release = reader.begin("batches()");
  try {
    await start.ready();
    for (;;) {
      reader.finish();
      const delivery = await reader.next(Number.POSITIVE_INFINITY, signal);
      if (delivery === undefined) return undefined;
      const records = delivery.take(Number.POSITIVE_INFINITY);
      const first = records[0] as ConsumerRecord;
      delivery.count();
      yield {
        topic: first.topic,
        partition: first.partition,
        firstOffset: first.offset,
        lastOffset: delivery.nextOffset - 1,
        count: records.length,
        appendTimestamp: first.appendTimestamp,
        records,
        commit: () => commit(delivery),
        [Symbol.iterator]: () => records[Symbol.iterator](),
      };
    }
  } finally {
    release();
  }
}
