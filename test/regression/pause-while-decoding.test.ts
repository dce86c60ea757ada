/**
 * A batch was decoded, and some turns of the microtask queue later it was what the reader had in hand. A pause or a seek of its partition
 * in between knew nothing of it: after the pause it was fetched again and handed out twice; after a seek its records moved the position
 * away from where the application had asked to be. The reader now knows of a batch from when it is decoded, and looks again whether it
 * is still wanted before it hands it out.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Consumer } from "../../src/consumer/consumer.ts";
import { type Setup, setUp, texts, values } from "../unit/consumer/setup.ts";

/** More turns than there are between a fetch's answer and the record in the application's hands. */
const TURNS = 60;

async function ticks(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

/** A consumer that has its partition and waits for the first records, which come now. */
async function waiting(setup: Setup): Promise<Consumer> {
  const { agent, clock, open, until } = setup;
  agent.createTopic("t");
  const consumer = open();
  await until(consumer.poll(0));
  await clock.run(2_000);
  return consumer;
}

describe("a pause or a seek while a batch is on its way to the application", () => {
  it("lets each record be handed out once", async () => {
    for (let turn = 0; turn < TURNS; turn++) {
      const setup = setUp();
      const { agent, clock, until } = setup;
      const consumer = await waiting(setup);
      const first = consumer.poll(1_000);
      await clock.run(1);
      await agent.append("t", values(4));
      await ticks(turn);
      consumer.pause();
      const seen = texts(await until(first));
      consumer.resume();
      while (seen.length < 4) seen.push(...texts(await until(consumer.poll(1_000))));
      seen.push(...texts(await until(consumer.poll(1_000))));
      assert.deepEqual(seen, values(4), `after ${turn} turns`);
      await until(consumer.close());
      assert.equal(clock.pending, 0);
    }
  });

  it("leaves the position where a seek put it", async () => {
    for (let turn = 0; turn < TURNS; turn++) {
      for (const read of ["poll", "iterate"] as const) {
        const setup = setUp();
        const { agent, clock, until } = setup;
        const consumer = await waiting(setup);
        const iterator = consumer.records();
        const first: Promise<unknown> = read === "poll" ? consumer.poll(1_000) : iterator.next();
        await clock.run(1);
        await agent.append("t", values(4));
        await ticks(turn);
        consumer.seek("t", 0, 2);
        await until(first);
        const position = consumer.position("t", 0) ?? 0;
        assert.ok(position >= 2, `${read}: ${position} after ${turn} turns`);
        await until(consumer.close());
      }
    }
  });
});
