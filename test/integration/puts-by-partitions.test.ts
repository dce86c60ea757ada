/**
 * What an agent asks of its bucket and its database grows with time and not with partitions: a house of one partition and one of a
 * thousand, with records for every partition all the time, by a clock that stands still between the steps.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { systemRandom } from "../../src/core/ids.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createSqliteMetadata } from "../../src/metadata/sqlite.ts";
import { embed } from "../../src/serve/embed.ts";
import { createMemoryStore } from "../../src/storage/memory.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";

/** As long as a PUT to S3 often takes, and shorter than the interval. */
const PUT_MS = 60;
const FLUSH_INTERVAL_MS = 200;
const STEP_MS = 50;
const STEPS = 60;

interface Counts {
  puts: number;
  commits: number;
  gets: number;
  lists: number;
  records: number;
}

/** Counts calls, and takes its time over each PUT. */
function counting(store: ObjectStore, clock: ManualClock, counts: Counts): ObjectStore {
  return {
    kind: store.kind,
    async put(key, parts, signal) {
      counts.puts++;
      await new Promise<void>((resolve) => clock.schedule(PUT_MS, resolve));
      await store.put(key, parts, signal);
    },
    get(key, range, signal) {
      counts.gets++;
      return store.get(key, range, signal);
    },
    head: (key, signal) => store.head(key, signal),
    list(prefix, startAfter, signal) {
      counts.lists++;
      return store.list(prefix, startAfter, signal);
    },
    delete: (keys, signal) => store.delete(keys, signal),
    close: () => store.close(),
  };
}

/** Methods of the store live on its prototype or on itself: only the one that is counted is replaced. */
function countingCommits(metadata: MetadataStore, counts: Counts): MetadataStore {
  return new Proxy(metadata, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name === "commitFlush") counts.commits++;
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Sends a record to each partition in every step, and counts what that asked of the stores. */
async function work(partitions: number): Promise<Counts> {
  const clock = new ManualClock();
  const counts: Counts = { puts: 0, commits: 0, gets: 0, lists: 0, records: 0 };
  const metadata = createSqliteMetadata({ path: ":memory:", clock });
  const store = createMemoryStore({ clock });
  const house = await embed(
    {
      store: counting(store, clock, counts),
      metadata: countingCommits(metadata, counts),
      agent: { flushIntervalMs: FLUSH_INTERVAL_MS },
      telemetry: false,
    },
    { clock, random: systemRandom },
  );
  try {
    await clock.until(house.admin.createTopic("events", { partitions }));
    const producer = house.producer({ lingerMs: 0 });
    const sends: Promise<unknown>[] = [];
    for (let step = 0; step < STEPS; step++) {
      for (let partition = 0; partition < partitions; partition++) {
        sends.push(producer.send({ topic: "events", partition, value: "a record" }));
      }
      await clock.run(STEP_MS);
    }
    const results = await clock.until(Promise.all(sends));
    counts.records = results.length;
  } finally {
    await clock.until(house.close());
    await metadata.close();
    await store.close();
  }
  return counts;
}

describe("requests to bucket and database", () => {
  it("are as many for a thousand partitions as for one, and no more than the flush interval asks for", async () => {
    const one = await work(1);
    const many = await work(1_000);
    assert.equal(one.records, STEPS);
    assert.equal(many.records, STEPS * 1_000);
    const said = `1 partition: ${JSON.stringify(one)}, 1,000: ${JSON.stringify(many)}`;
    // The same clock and the same steps. Sends of a step may be split over two flushes at its edges.
    assert.ok(one.puts >= 10, said);
    assert.ok(Math.abs(many.puts - one.puts) <= 2, said);
    assert.ok(Math.abs(many.commits - one.commits) <= 2, said);
    // One at once, one for each interval, one at the end.
    const puts = (STEPS * STEP_MS) / FLUSH_INTERVAL_MS;
    assert.ok(many.puts >= puts - 1 && many.puts <= puts + 2, said);
    // Producing lists nothing and reads nothing back: the tail is in memory.
    assert.deepEqual([many.gets, many.lists], [one.gets, one.lists], said);
  });
});
