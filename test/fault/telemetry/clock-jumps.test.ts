/**
 * A wall clock that jumps an hour back, and forth again: results, order and offsets are the same as without, no duration and no lag is
 * negative, and every histogram keeps to what the monotonic clock says.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Consumer } from "../../../src/consumer/consumer.ts";
import { catalogue } from "../../../src/telemetry/catalogue.ts";
import { isHistogram, type MetricRegistry } from "../../../src/telemetry/cells.ts";
import { createTopic } from "../../unit/agent/bench-agent.ts";
import { discrepancies } from "./audit-reading.ts";
import { type MeasuredHouse, openMeasuredHouse } from "./measured-house.ts";

const HOUR = 3_600_000;
/** Before each round the wall clock jumps by so much. */
const steady = [0, 0, 0, 0, 0, 0];
const jumping = [0, -HOUR, 0, HOUR, HOUR, -HOUR];

interface Seen {
  readonly acknowledged: readonly string[];
  readonly read: readonly string[];
  readonly committed: number | undefined;
  readonly lag: number;
}

async function run(jumps: readonly number[]): Promise<Seen> {
  const room = await openMeasuredHouse(7);
  const { clock, house } = room;
  await createTopic(room, "orders", { partitions: 2 });
  const producer = house.producer();
  const consumer = house.consumer({ group: "g", topics: ["orders"], autoCommit: false });
  const acknowledged: string[] = [];
  const read: string[] = [];
  const take = async () => {
    for (const record of await clock.until(consumer.poll(200))) {
      read.push(`${record.partition}@${record.offset} ${record.text()}`);
    }
  };
  for (const [round, jump] of jumps.entries()) {
    const sends = [0, 1, 2].map((i) =>
      producer.send({ topic: "orders", partition: i % 2, value: `${round}.${i}` }),
    );
    // The clock jumps while they linger.
    clock.jump(jump);
    for (const { partition, offset } of await clock.until(Promise.all(sends))) {
      acknowledged.push(`${partition}@${offset}`);
    }
    await take();
    if (round % 2 === 0) await clock.until(consumer.commit());
    await clock.run(1_500);
    assertSane(room);
  }
  const committed = await clock.until(consumer.committed("orders", 0));
  const lag = await lagOf(room, consumer);
  await room.close();
  assert.equal(clock.pending, 0, "nothing runs after close");
  return { acknowledged, read: read.sort(), committed, lag };
}

async function lagOf({ clock }: MeasuredHouse, consumer: Consumer): Promise<number> {
  const { records, seconds } = await clock.until(consumer.lag("orders", 0));
  assert.ok(seconds >= 0 && seconds > 0 === records > 0, `${records} records, ${seconds} s`);
  return records;
}

/** Of the wall clock: ages and latencies between two processes. They are never negative, but may be an hour off. */
const byWallClock: ReadonlySet<string> = new Set([
  catalogue.endToEndLatency.name,
  catalogue.recordAge.name,
]);

function assertSane({ clock, registries }: MeasuredHouse): void {
  const elapsed = clock.monotonic() / 1_000;
  for (const registry of registries) {
    for (const [law, off] of discrepancies(registry)) assert.equal(off, 0, law);
    assertCells(registry, elapsed);
  }
}

function assertCells(registry: MetricRegistry, elapsed: number): void {
  for (const { descriptor, series } of registry.collect()) {
    const { name, unit } = descriptor;
    for (const { cell } of series.values()) {
      if (!isHistogram(cell)) {
        assert.ok(cell.value >= 0, `${name} is ${cell.value}`);
        continue;
      }
      assert.ok(cell.sum >= 0 && Number.isFinite(cell.sum), `${name} has a sum of ${cell.sum}`);
      const counted = cell.counts.reduce((sum, n) => sum + n, 0);
      assert.equal(counted, cell.count, name);
      if (unit !== "s" || byWallClock.has(name)) continue;
      assert.ok(
        cell.sum <= elapsed * cell.count,
        `${name}: ${cell.sum} s in ${cell.count} samples`,
      );
    }
  }
}

describe("a wall clock that jumps by hours", () => {
  it("changes no result, no order and no offset, and makes nothing negative", async () => {
    const expected = await run(steady);
    assert.equal(expected.acknowledged.length, 18);
    assert.equal(expected.read.length, 18);
    assert.deepEqual(await run(jumping), expected);
  });
});
