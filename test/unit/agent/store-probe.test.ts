/** What an agent finds out about a remote store before it takes any lease. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createAgent } from "../../../src/agent/agent.ts";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import { createMemoryStore } from "../../../src/storage/memory.ts";
import { createObjectSink } from "../../../src/storage/object-sink.ts";
import type { ObjectStore } from "../../../src/storage/object-store.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { failureOf, memoryMetadata, seededRandom } from "./bench-agent.ts";

function make(
  change: (store: ObjectStore) => Partial<ObjectStore>,
  known?: ReturnType<typeof memoryMetadata>,
) {
  const clock = new ManualClock();
  const inner = createMemoryStore({ clock });
  const plain: ObjectStore = {
    ...{ kind: "s3", remote: true, close: () => inner.close() },
    put: (...args) => inner.put(...args),
    get: (...args) => inner.get(...args),
    head: (...args) => inner.head(...args),
    list: (...args) => inner.list(...args),
    delete: (...args) => inner.delete(...args),
  };
  const store = { ...plain, ...change(plain) };
  const metadata = known ?? memoryMetadata(clock);
  const agent = createAgent({
    ...{ metadata, store, sink: createObjectSink({ store, clock }), clock },
    ...{ random: seededRandom(1), logger: silentLogger, telemetry: false },
  });
  const left = async () => {
    const keys: string[] = [];
    for await (const { key } of inner.list("")) keys.push(key);
    return keys;
  };
  return { agent, clock, metadata, store, left };
}

const refusal = (retriable: boolean, message: string) =>
  new StreamHouseError({ code: "STORE_UNAVAILABLE", kind: "unavailable", retriable, message });

describe("an agent over a remote store", () => {
  it("starts with one that does what it must, and leaves there whose it is", async () => {
    const { agent, clock, left } = make(() => ({}));
    await clock.until(agent.start());
    assert.deepEqual(await left(), ["owner"]);
    await clock.until(agent.stop());
  });

  it("does not start where it may not write, says why at once, and registers no run", async () => {
    const { agent, clock, metadata } = make(() => ({
      put: async () => {
        throw refusal(false, "put in bucket b failed (NoSuchBucket, HTTP 404): create the bucket");
      },
    }));
    const error = await failureOf(agent.start());
    assert.equal(error.code, "STORE_UNAVAILABLE");
    assert.match(error.message, /NoSuchBucket.*create the bucket/);
    assert.equal(clock.monotonic(), 0, "without asking again");
    assert.deepEqual(await metadata.listRuns(), []);
    await clock.until(agent.stop());
    assert.equal(clock.pending, 0);
  });

  it("rides out a hiccup, and an answer that was lost", async () => {
    let puts = 0;
    const { agent, clock, left } = make((store) => ({
      put: async (...args) => {
        puts++;
        if (puts === 1) throw refusal(true, "busy");
        await store.put(...args);
        if (puts === 2) throw refusal(true, "the answer was lost");
      },
    }));
    await clock.until(agent.start());
    assert.deepEqual(await left(), ["owner"]);
    await clock.until(agent.stop());
  });

  it("does not start over records of another database, which it would sweep as orphans", async () => {
    const first = make(() => ({}));
    await first.clock.until(first.agent.start());
    await first.clock.until(first.agent.stop());
    const shared = () => first.store;
    const other = make(shared);
    const error = await failureOf(other.agent.start());
    assert.deepEqual([error.code, error.field], ["INVALID_ARGUMENT", "store"]);
    const [mine, theirs] = [await other.metadata.identity(), await first.metadata.identity()];
    assert.ok(error.message.includes(mine) && error.message.includes(theirs), error.message);
    assert.deepEqual(await other.metadata.listRuns(), []);
    await other.clock.until(other.agent.stop());
    const again = make(shared, first.metadata);
    await again.clock.until(again.agent.start());
    await again.clock.until(again.agent.stop());
  });

  it("gives a store that stays away up after some seconds", async () => {
    const { agent, clock } = make(() => ({
      put: async () => {
        throw refusal(true, "is the endpoint right, and does it run?");
      },
    }));
    const error = await failureOf(clock.until(agent.start()));
    assert.match(error.message, /is the endpoint right/);
    assert.ok(clock.monotonic() > 5_000 && clock.monotonic() <= 15_000, `${clock.monotonic()} ms`);
    await clock.until(agent.stop());
  });

  it("does not start over one that overwrites", async () => {
    const { agent, clock } = make((store) => ({
      put: async (key, parts) => {
        await store.delete([key]);
        await store.put(key, parts);
      },
    }));
    const error = await failureOf(agent.start());
    assert.equal(error.code, "NOT_SUPPORTED");
    assert.match(error.message, /conditional writes/);
    await clock.until(agent.stop());
  });
});
