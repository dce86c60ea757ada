import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createTestHouse } from "../../../src/testing/test-house.ts";

describe("house", () => {
  it("closes what is still open, and what was closed before is no trouble", async () => {
    const house = await createTestHouse({ topics: ["t"] });
    const open = house.producer({ lingerMs: 60_000 });
    const closed = house.producer();
    await closed.close();
    const consumer = house.consumer({ group: "g", topics: ["t"] });
    const sent = open.send({ topic: "t", value: "pending" });
    const reading = (async () => {
      for await (const _ of consumer);
    })();
    await Promise.all([house.close(), house.close()]);
    assert.equal((await sent).offset, 0);
    await reading;
    assert.throws(() => house.topic("t"), { code: "CLOSED" });
  });

  it("lets consumers finish before producers close: what they process may be sent on", async () => {
    const house = await createTestHouse({ topics: ["in", "out"] });
    const producer = house.producer({ lingerMs: 0 });
    await producer.send({ topic: "in", value: "work" });
    const consumer = house.consumer({ group: "g", topics: ["in"] });
    let forwarded: number | undefined;
    let begun: () => void = () => {};
    const inHand = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const working = (async () => {
      for await (const record of consumer) {
        begun();
        await Promise.resolve();
        const { offset } = await producer.send({ topic: "out", value: record.value });
        forwarded = offset;
      }
    })();
    await inHand;
    await house.close();
    await working;
    assert.equal(forwarded, 0);
  });

  it("checks options when something is made, not when it is used", async () => {
    const house = await createTestHouse();
    assert.throws(() => house.producer({ lingerMs: -1 }), { code: "INVALID_ARGUMENT" });
    assert.throws(() => house.consumer({ topics: ["t"] }), { code: "INVALID_ARGUMENT" });
    await house.close();
  });
});
