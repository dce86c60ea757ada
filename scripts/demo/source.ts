/** Where the main job's records come from: the flights of vega-datasets, or a file of lines. Bounded memory for files. */
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { type Line, readLines } from "../../src/cli/line-input.ts";
import { limits } from "../../src/core/limits.ts";

export interface Source {
  /** Whose records these are, for people. */
  readonly name: string;
  /** A name for the topic that they go to. */
  readonly topic: string;
  readonly total: number;
  /** The records' values, many at a time. */
  values(): AsyncIterable<readonly Uint8Array[]>;
}

const flightsFile = "vega-datasets/data/flights-200k.json";
const flightsUrl = new URL(`../../node_modules/${flightsFile}`, import.meta.url);

/** 200,000 flights of the United States, each a JSON object with delay, distance and time. */
export async function flights(recordsMax: number): Promise<Source> {
  const all = JSON.parse(await readFile(flightsUrl, "utf8")) as readonly object[];
  const chosen = all.slice(0, recordsMax);
  const encoder = new TextEncoder();
  return {
    name: `the flights of ${flightsFile}`,
    topic: "flights",
    total: chosen.length,
    async *values() {
      for (let i = 0; i < chosen.length; i += 1_000) {
        yield chosen.slice(i, i + 1_000).map((flight) => encoder.encode(JSON.stringify(flight)));
      }
    },
  };
}

/**
 * The lines of a file, each a record. Reads it once to count and once to send.
 * @throws Error naming the line that is longer than a record may be, or what is wrong with the file
 */
export async function linesOf(path: string, recordsMax: number): Promise<Source> {
  let total = 0;
  for await (const lines of linesFrom(path)) {
    for (const line of lines) {
      if (line.bytes !== undefined) continue;
      throw new Error(
        `line ${line.number} of ${path} has ${line.length} bytes and a record may have ${limits.recordBytesMax}`,
      );
    }
    total += lines.length;
    if (total >= recordsMax) break;
  }
  const chosen = Math.min(total, recordsMax);
  return {
    name: `the lines of ${path}`,
    topic:
      basename(path)
        .replace(/[^a-zA-Z0-9._-]/g, "-")
        .replace(/^\.+$/, "lines") || "lines",
    total: chosen,
    async *values() {
      let left = chosen;
      for await (const lines of linesFrom(path)) {
        if (left <= 0) return;
        const values = lines.slice(0, left).map((line) => line.bytes ?? new Uint8Array(0));
        left -= values.length;
        yield values;
      }
    },
  };
}

async function* linesFrom(path: string): AsyncGenerator<readonly Line[]> {
  try {
    yield* readLines(createReadStream(path), limits.recordBytesMax);
  } catch (error) {
    throw new Error(`cannot read ${path}: ${error instanceof Error ? error.message : error}`);
  }
}
