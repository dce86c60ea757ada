import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { silentLogger } from "../../../src/core/logger.ts";
import { Teardown } from "../../../src/serve/teardown.ts";

describe("teardown", () => {
  it("closes in the opposite order, each after the one before has ended, and only once", async () => {
    const closed: string[] = [];
    const teardown = new Teardown(silentLogger);
    teardown.add("first", () => void closed.push("first"));
    teardown.add("second", async () => {
      await Promise.resolve();
      closed.push("second");
    });
    await Promise.all([teardown.unwind(), teardown.unwind()]);
    assert.deepEqual(closed, ["second", "first"]);
  });

  it("closes the rest although one fails, tells each failure, and ends with the first", async () => {
    const told: unknown[] = [];
    const logger = {
      ...silentLogger,
      error: (message: string) => void told.push(message),
    };
    const closed: string[] = [];
    const teardown = new Teardown(logger);
    teardown.add("store", () => void closed.push("store"));
    teardown.add("folder", () => {
      throw new Error("second failure");
    });
    teardown.add("server", () => Promise.reject(new Error("first failure")));
    await assert.rejects(teardown.unwind(), /first failure/);
    assert.deepEqual(closed, ["store"]);
    assert.deepEqual(told, ["could not close the server", "could not close the folder"]);
  });
});
