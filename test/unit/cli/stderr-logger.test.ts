import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createStderrLogger } from "../../../src/cli/cli-io.ts";

describe("the log on standard error", () => {
  it("writes a repeated message once in half a minute, and then how often it was left out", () => {
    const lines: string[] = [];
    let now = Date.UTC(2026, 0, 1);
    const logger = createStderrLogger(
      (line) => lines.push(line),
      () => now,
    );
    for (let i = 0; i < 5; i++) {
      logger.warn("a heartbeat failed", { group: "g" });
      now += 1_000;
    }
    logger.warn("something else");
    now += 30_000;
    logger.warn("a heartbeat failed", { group: "g" });
    assert.deepEqual(lines, [
      "2026-01-01T00:00:00.000Z warn a heartbeat failed group=g",
      "2026-01-01T00:00:05.000Z warn something else",
      "2026-01-01T00:00:35.000Z warn a heartbeat failed group=g (and 4 more)",
    ]);
  });
});
