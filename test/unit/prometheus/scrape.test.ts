import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { negotiateFormat } from "../../../src/prometheus/negotiation.ts";
import { Scrape, type ScrapeEvents, type ScrapeOptions } from "../../../src/prometheus/scrape.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

const text = negotiateFormat("text/plain");
const openmetrics = negotiateFormat("application/openmetrics-text");

/** A source whose collections end when the test says so. */
function createSource() {
  const ends: ((error?: Error) => void)[] = [];
  const written: string[] = [];
  let collections = 0;
  return {
    written,
    get collections() {
      return collections;
    },
    end: (error?: Error) => ends.shift()?.(error),
    gather() {
      collections += 1;
      const n = collections;
      const gathered = {
        errors: [],
        async *write(format: string) {
          written.push(`${format} ${n}`);
          yield new TextEncoder().encode(`${format} ${n}\n`);
        },
      };
      return new Promise<typeof gathered>((resolve, reject) => {
        ends.push((error) => (error === undefined ? resolve(gathered) : reject(error)));
      });
    },
  };
}

function createScrape(options: ScrapeOptions & ScrapeEvents = {}) {
  const clock = new ManualClock();
  const source = createSource();
  return { clock, source, scrape: new Scrape(() => source.gather(), options, clock) };
}

async function bodyOf(scrape: Scrape, format = text): Promise<string> {
  const result = await scrape.answer(format, false);
  if (result.outcome !== "ok") return result.outcome;
  return new TextDecoder().decode(result.body.chunks[0]).trim();
}

describe("a scrape", () => {
  it("shares one collection with all who ask meanwhile, and writes each format once", async () => {
    const { scrape, source } = createScrape();
    const all = [text, openmetrics, text, openmetrics].map((format) => bodyOf(scrape, format));
    source.end();
    assert.deepEqual(await Promise.all(all), [
      "text 1",
      "openmetrics 1",
      "text 1",
      "openmetrics 1",
    ]);
    assert.equal(source.collections, 1);
    assert.deepEqual(source.written, ["text 1", "openmetrics 1"]);
  });

  it("reuses a result for as long as it took to make, in any format, then collects again", async () => {
    const { scrape, source, clock } = createScrape();
    const first = bodyOf(scrape);
    clock.advance(80);
    source.end();
    assert.equal(await first, "text 1");
    clock.advance(79);
    assert.equal(await bodyOf(scrape), "text 1");
    assert.equal(await bodyOf(scrape, openmetrics), "openmetrics 1");
    clock.advance(1);
    const second = bodyOf(scrape);
    source.end();
    assert.equal(await second, "text 2");
  });

  it("never answers a quick result twice", async () => {
    const { scrape, source } = createScrape();
    for (const expected of ["text 1", "text 2"]) {
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
    assert.match(await next, /^text 2$/);
    assert.equal(clock.pending, 0);
  });

  it("gives up one format without breaking off another that has time left", async () => {
    const clock = new ManualClock();
    const begun = { text: () => {}, openmetrics: () => {} };
    const began = (format: keyof typeof begun) =>
      new Promise<void>((resolve) => {
        begun[format] = resolve;
      });
    let endWriting = () => {};
    const written = new Promise<void>((resolve) => {
      endWriting = resolve;
    });
    const gathered = {
      async *write(format: keyof typeof begun) {
        begun[format]();
        if (format === "text") await new Promise(() => {});
        await written;
        yield new TextEncoder().encode(format);
      },
    };
    const scrape = new Scrape(() => Promise.resolve(gathered), { deadlineMs: 1_000 }, clock);
    const [textBegan, otherBegan] = [began("text"), began("openmetrics")];
    const first = bodyOf(scrape);
    await textBegan;
    clock.advance(600);
    const second = bodyOf(scrape, openmetrics);
    await otherBegan;
    clock.advance(400);
    assert.equal(await first, "late");
    endWriting();
    assert.equal(await second, "openmetrics");
  });

  it("starts no fifth collection while four that are past their deadline hang", async () => {
    const { scrape, source, clock } = createScrape({ deadlineMs: 1_000 });
    for (let i = 0; i < 4; i++) {
      const late = bodyOf(scrape);
      clock.advance(1_000);
      assert.equal(await late, "late");
    }
    assert.equal(await bodyOf(scrape), "late");
    assert.equal(source.collections, 4);
    source.end();
    // The end is seen once its promise has settled.
    await new Promise((resolve) => setTimeout(resolve, 0));
    const next = bodyOf(scrape);
    assert.equal(source.collections, 5);
    for (let i = 0; i < 4; i++) source.end();
    assert.equal(await next, "text 5");
  });

  it("refuses who would have to wait in too long a row", async () => {
    const { scrape, source } = createScrape({ waitingMax: 2 });
    const waiting = Promise.all([bodyOf(scrape), bodyOf(scrape, openmetrics)]);
    assert.equal(await bodyOf(scrape), "overloaded");
    source.end();
    assert.deepEqual(await waiting, ["text 1", "openmetrics 1"]);
  });

  it("does not keep a failure", async () => {
    const { scrape, source } = createScrape({ cacheMs: 1_000 });
    const failed = scrape.answer(text, false);
    source.end(new Error("no reader"));
    assert.deepEqual(await failed, {
      outcome: "failed",
      reason: "collecting metrics failed: no reader",
    });
    const next = bodyOf(scrape);
    source.end();
    assert.equal(await next, "text 2");
  });

  it("lets go of a kept body when its time is over, without being asked", async () => {
    const { scrape, source, clock } = createScrape({ cacheMs: 500 });
    const first = bodyOf(scrape);
    source.end();
    await first;
    assert.equal(clock.pending, 1);
    clock.advance(500);
    assert.equal(clock.pending, 0);
  });

  it("tells of each scrape how it ended, and of each collection how long it took", async () => {
    const outcomes: string[] = [];
    const seconds: number[] = [];
    const { scrape, source, clock } = createScrape({
      cacheMs: 1_000,
      waitingMax: 1,
      deadlineMs: 5_000,
      onScrape: (outcome) => outcomes.push(outcome),
      onCollected: (it) => seconds.push(it),
    });
    const first = bodyOf(scrape);
    await bodyOf(scrape);
    clock.advance(250);
    source.end();
    await first;
    await bodyOf(scrape);
    clock.advance(1_000);
    const failed = bodyOf(scrape);
    source.end(new Error("no"));
    await failed;
    const late = bodyOf(scrape);
    clock.advance(5_000);
    await late;
    assert.deepEqual(outcomes, ["overloaded", "ok", "ok", "failed", "late"]);
    assert.deepEqual(seconds, [0.25]);
  });
});
