/**
 * Broke: with an embedded agent an application that wrote into a record's value (to decrypt it in place, say) damaged the record for
 * every other consumer of the process: they got `CORRUPT_BATCH`, or read what it wrote.
 * Why: values are views into the fetched batch, and within one process that was the very batch in the agent's cache.
 * Cure: the in-process transport hands over copies of batches, as the network does.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createTestHouse } from "../../src/testing/test-house.ts";

const decoder = new TextDecoder();

describe("a value that its consumer writes into", () => {
  it("is read by the next consumer as it was sent", async () => {
    const house = await createTestHouse({ topics: ["t"] });
    try {
      const producer = house.producer({ lingerMs: 0 });
      await producer.send({ topic: "t", key: "k", value: "secret" });
      await producer.close();
      for (const group of ["one", "two"]) {
        const consumer = house.consumer({ group, topics: ["t"], offsetReset: "earliest" });
        for await (const record of consumer) {
          assert.equal(decoder.decode(record.bytes()), "secret");
          record.bytes().fill(0);
          break;
        }
        await consumer.close();
      }
    } finally {
      await house.close();
    }
  });
});
