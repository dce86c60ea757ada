/**
 * Broke: an application whose `onCollected` or whose log threw lost its process: the rejection had nobody to handle it; one whose
 * `onScrape` threw got a handler that rejects. And what failed in one collection was counted once for each format that it was
 * written in.
 * Why: both were called from promises, unguarded, and `onCollected` with each body.
 * Cure: what they throw is swallowed; the failures come with the first body only.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createScrapeHandler } from "../../src/prometheus/handler.ts";

const failure = new Error("an instrument of the application");

const gather = async () => ({
  errors: [failure],
  async *write(format: string) {
    yield new TextEncoder().encode(`${format} `.repeat(1_000));
  },
});

const requests = ["text/plain", "application/openmetrics-text"].flatMap((accept) =>
  ["identity", "gzip"].map(
    (encoding) =>
      new Request("http://localhost/metrics", {
        headers: { accept, "accept-encoding": encoding },
      }),
  ),
);

describe("whoever is told of a scrape", () => {
  it("may throw: the scrape is answered, and nothing is rejected behind its back", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    try {
      let told = 0;
      const throwing = () => {
        told += 1;
        throw new Error("a log that is broken");
      };
      const answer = createScrapeHandler(gather, { onScrape: throwing, onCollected: throwing });
      for (const request of requests) assert.equal((await answer(request)).status, 200);
      await new Promise((resolve) => setTimeout(resolve, 0));
      assert.ok(told > requests.length);
      assert.deepEqual(unhandled, []);
    } finally {
      process.off("unhandledRejection", note);
    }
  });

  it("hears of each failure once, in however many formats the collection is written", async () => {
    const failed: unknown[] = [];
    let bodies = 0;
    const onCollected = (_seconds: number, errors: readonly unknown[]) => {
      bodies += 1;
      failed.push(...errors);
    };
    const answer = createScrapeHandler(gather, { onCollected, cacheMs: 600_000 });
    for (const request of requests) assert.equal((await answer(request)).status, 200);
    assert.equal(bodies, requests.length);
    assert.deepEqual(failed, [failure]);
  });
});
