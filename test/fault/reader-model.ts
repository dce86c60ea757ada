/**
 * Consumers of a fleet of agents, each looked at record by record: what it is given must be the log, without a gap, a repetition or a
 * change, and it may leave out only what lies below a log start. Used by the tests of reads over moves.
 */
import assert from "node:assert/strict";
import { createCluster } from "../../src/client/cluster.ts";
import { type Consumer, createConsumer } from "../../src/consumer/consumer.ts";
import type { ConsumerOptions } from "../../src/consumer/options.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { seededRandom } from "../unit/agent/bench-agent.ts";
import type { Fleet } from "./fleet.ts";

/** What producers were told: the value at each offset of each partition. */
export class Acknowledged {
  readonly #logs = new Map<number, Map<number, string>>();

  add(partition: number, offset: number, value: string): void {
    const log = this.of(partition);
    assert.equal(log.get(offset) ?? value, value, `offset ${offset} was acknowledged twice`);
    log.set(offset, value);
  }

  of(partition: number): Map<number, string> {
    let log = this.#logs.get(partition);
    if (log === undefined) {
      log = new Map();
      this.#logs.set(partition, log);
    }
    return log;
  }

  /** Offset after the last one that is known. */
  end(partition: number): number {
    return Math.max(-1, ...this.of(partition).keys()) + 1;
  }
}

export interface ReadingOptions {
  readonly name: string;
  readonly partitions: number;
  readonly consumer?: Partial<ConsumerOptions>;
  readonly seed?: number;
  /** True log starts, by partition: a reader may go on there, and nowhere else. */
  readonly logStart?: (partition: number) => Promise<number>;
}

/** One consumer of topic `t` with what it was given. */
export class Reading {
  readonly consumer: Consumer;
  readonly name: string;
  readonly values: string[][];
  /** Next offset by partition. */
  readonly next: number[];
  readonly #fleet: Fleet;
  readonly #logStart: (partition: number) => Promise<number>;

  constructor(fleet: Fleet, options: ReadingOptions) {
    const { consumer = {}, name, partitions, seed = 3 } = options;
    this.name = name;
    this.#fleet = fleet;
    this.#logStart = options.logStart ?? (async () => 0);
    this.values = Array.from({ length: partitions }, () => []);
    this.next = Array.from({ length: partitions }, () => 0);
    const shared = { clock: fleet.clock, random: seededRandom(seed), logger: silentLogger };
    const cluster = createCluster(fleet.transport([...fleet.members.keys()]), shared);
    this.consumer = createConsumer(
      { ...shared, cluster, clientId: name, telemetry: false },
      {
        assign: Array.from({ length: partitions }, (_, partition) => ({ topic: "t", partition })),
        ...{ fetchMaxWaitMs: 300, requestTimeoutMs: 20_000, connectTimeoutMs: 120_000 },
        ...consumer,
      },
    );
  }

  /** Reads for so long at most, and looks at what comes. Answers how many records came. */
  async poll(ms: number): Promise<number> {
    const records = await this.#fleet.clock.until(this.consumer.poll(ms));
    for (const record of records) {
      const { offset, partition } = record;
      const expected = this.next[partition] ?? -1;
      if (offset !== expected) {
        const start = await this.#logStart(partition);
        assert.ok(
          offset > expected && offset <= start,
          `${this.name}: offset ${offset} of partition ${partition} after ${expected}, log start ${start}`,
        );
      }
      (this.values[partition] as string[])[offset] = record.text();
      this.next[partition] = offset + 1;
    }
    return records.length;
  }

  /** Everything that was acknowledged and that it did not have to leave out, at its offset. */
  compare(acknowledged: Acknowledged): void {
    for (const [partition, values] of this.values.entries()) {
      for (const [offset, value] of acknowledged.of(partition)) {
        const seen = values[offset];
        if (seen !== undefined) assert.equal(seen, value, `${this.name}: ${partition}@${offset}`);
      }
    }
  }

  async close(): Promise<void> {
    await this.#fleet.clock.until(this.consumer.close());
  }
}
