/**
 * What one scrape costs at 220, 2,200 and 22,000 series (a histogram is one): processor time, the
 * longest pause of the event loop, bytes; and the heap that a series takes.
 */
import type { Contender } from "../contender.ts";
import { collector } from "../garbage.ts";
import { effortOf } from "./effort.ts";
import { pausesOf } from "./pauses.ts";
import { FAMILIES, type Subject, type SubjectKind, subjects } from "./scrape-subjects.ts";

const SERIES_PER_FAMILY = [10, 100, 1_000];

export function scrapeContenders(): Contender[] {
  return SERIES_PER_FAMILY.flatMap((each) => subjects.map((kind) => scrapeContender(kind, each)));
}

/** The largest again, under the name of a figure of the plain bench, the others as systems that it is compared with. */
export function scrape22kContenders(): Contender[] {
  const others = subjects.filter((kind) => kind.name !== "ours").map((kind) => kind.name);
  return subjects.map((kind) => {
    const own = kind.name === "ours";
    return {
      ...scrapeContender(kind, SERIES_PER_FAMILY.at(-1) ?? 0),
      name: own ? "scrape-22k" : `scrape-22k@${kind.name}`,
      limits: own ? others.map((it) => `scrape-22k@${it}`) : [],
    };
  });
}

/** Heap for each series; memory is the same in every round, so that one is enough. */
export function seriesHeapContenders(): Contender[] {
  return subjects.map((kind) => ({
    name: `telemetry-series-heap-${kind.name}`,
    unit: "bytes",
    limits: [],
    note: `heap for each of ${SERIES_PER_FAMILY[1]} series in ${FAMILIES} families, after a collection`,
    round: async () => ({ value: await heapOfSeries(kind) }),
  }));
}

function scrapeContender(kind: SubjectKind, seriesPerFamily: number): Contender {
  let subject: Subject | undefined;
  return {
    name: `telemetry-scrape-${FAMILIES * seriesPerFamily}-${kind.name}`,
    unit: "ms",
    limits: [],
    note: `${kind.note}: processor time; \`pause\` is the longest turn of the event loop`,
    async prepare() {
      subject = kind.open(seriesPerFamily);
    },
    async round() {
      if (subject === undefined) throw new Error("round() before prepare()");
      const scraped = subject;
      scraped.touch();
      let bytes = 0;
      let longest = { longestMs: 0, longestWallMs: 0 };
      const { cpuSeconds, wallSeconds } = await effortOf(async () => {
        longest = await pausesOf(async () => {
          bytes = await scraped.scrape();
        });
      });
      return {
        value: cpuSeconds * 1_000,
        also: {
          wall: wallSeconds * 1_000,
          pause: longest.longestMs,
          "pause wall": longest.longestWallMs,
          bytes,
        },
      };
    },
    close: async () => await subject?.close(),
  };
}

async function heapOfSeries(kind: SubjectKind): Promise<number> {
  const collect = collector();
  const seriesPerFamily = SERIES_PER_FAMILY[1] ?? 0;
  const used = async () => {
    // What was looked at in this turn of the event loop, and what finalizers hold, goes in later turns.
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      collect();
    }
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const few = kind.open(1);
  few.touch();
  const before = await used();
  const many = kind.open(seriesPerFamily + 1);
  many.touch();
  const after = await used();
  await few.close();
  await many.close();
  return (after - before) / (FAMILIES * seriesPerFamily);
}
