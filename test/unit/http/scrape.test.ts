import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Scrape, type ScrapeOptions } from "../../../src/http/scrape.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

/** A source whose collections end when the test says so. */
function createSource() {
  const ends: ((error?: Error) => void)[] = [];
  let collections = 0;
  return {
    get collections() {
      return collections;
    },
    end: (error?: Error) => ends.shift()?.(error),
    collect() {
      collections += 1;
      const text = { body: `n ${collections}\n`, contentType: "text/plain" };
      return new Promise<typeof text>((resolve, reject) => {
        ends.push((error) => (error === undefined ? resolve(text) : reject(error)));
      });
    },
  };
}

function createScrape(options: ScrapeOptions = {}) {
  const clock = new ManualClock();
  const source = createSource();
  return { clock, source, scrape: new Scrape(source, options, clock) };
}

async function bodyOf(scrape: Scrape): Promise<string> {
  const result = await scrape.text();
  return result.outcome === "collected" ? result.text.body : result.outcome;
}

describe("a scrape", () => {
  it("shares one collection with all who ask meanwhile", async () => {
    const { scrape, source } = createScrape();
    const both = Promise.all([bodyOf(scrape), bodyOf(scrape)]);
    source.end();
    assert.deepEqual(await both, ["n 1\n", "n 1\n"]);
    assert.equal(source.collections, 1);
  });

  it("reuses a result for as long as it took to make, then collects again", async () => {
    const { scrape, source, clock } = createScrape();
    const first = bodyOf(scrape);
    clock.advance(80);
    source.end();
    assert.equal(await first, "n 1\n");
    clock.advance(79);
    assert.equal(await bodyOf(scrape), "n 1\n");
    clock.advance(1);
    const second = bodyOf(scrape);
    source.end();
    assert.equal(await second, "n 2\n");
  });

  it("never answers a quick result twice", async () => {
    const { scrape, source } = createScrape();
    for (const expected of ["n 1\n", "n 2\n"]) {
      const answer = bodyOf(scrape);
      source.end();
      assert.equal(await answer, expected);
    }
  });

  it("gives up at its deadline, and the next one tries anew", async () => {
    const { scrape, source, clock } = createScrape({ deadlineMs: 8_000 });
    const late = bodyOf(scrape);
    clock.advance(8_000);
    assert.equal(await late, "late");
    const next = bodyOf(scrape);
    source.end();
    source.end();
    assert.match(await next, /^n [12]\n$/);
    assert.equal(clock.pending, 0);
  });

  it("refuses who would have to wait in too long a row", async () => {
    const { scrape, source } = createScrape({ waitingMax: 2 });
    const waiting = Promise.all([bodyOf(scrape), bodyOf(scrape)]);
    assert.equal(await bodyOf(scrape), "overloaded");
    source.end();
    assert.deepEqual(await waiting, ["n 1\n", "n 1\n"]);
  });

  it("does not keep a failure", async () => {
    const { scrape, source } = createScrape({ cacheMs: 1_000 });
    const failed = scrape.text();
    source.end(new Error("no reader"));
    assert.deepEqual(await failed, {
      outcome: "failed",
      reason: "collecting metrics failed: no reader",
    });
    const next = bodyOf(scrape);
    source.end();
    assert.equal(await next, "n 2\n");
  });
});
