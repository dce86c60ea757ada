/**
 * Latency from a fixed rate of arrivals to delivery. Each record has the moment at which it was to be sent in its value, and is
 * counted from that, whether or not it could be sent then: a system that stands still does not hide what waited meanwhile
 * ("coordinated omission", https://github.com/HdrHistogram/HdrHistogram#corrected-vs-raw-value-recording-calls). Sender and receiver are
 * in this process, so that one clock measures both.
 */
import { setTimeout as wait } from "node:timers/promises";
import { build } from "hdr-histogram-js";
import type { Sample } from "./contender.ts";
import type { Peer } from "./peers/peer.ts";

/** Records a second. */
const RATE = 10_000;

/** Microseconds: what takes longer counts as this. */
const HIGHEST_US = 60_000_000;

/** Of what arrives late, so long after the last one was sent, is waited for. */
const LATE_MS = 30_000;

/** Told apart from those of an earlier round by the clock that they carry. */
export async function latencyRound(
  peer: Pick<Peer, "sendMany" | "follow">,
  topic: string,
  options: { readonly seconds: number; readonly valueBytes: number },
): Promise<Sample> {
  const histogram = build({ lowestDiscernibleValue: 1, highestTrackableValue: HIGHEST_US });
  const startsAt = performance.now();
  let arrived = 0;
  let probes = 0;
  const end = await peer.follow(topic, (value) => {
    const due = new DataView(value.buffer, value.byteOffset, value.byteLength).getFloat64(0);
    if (due < 0) probes++;
    else if (due >= startsAt) {
      const us = Math.round((performance.now() - due) * 1_000);
      histogram.recordValue(Math.min(HIGHEST_US, Math.max(1, us)));
      arrived++;
    }
  });
  try {
    await untilFollowed(peer, topic, options.valueBytes, () => probes > 0);
    const sent = await sendAtRate(peer, topic, options);
    await reached(() => arrived >= sent, `${sent} records`);
  } finally {
    await end();
  }
  const ms = (percentile: number) => histogram.getValueAtPercentile(percentile) / 1_000;
  return {
    value: ms(50),
    also: { p99: ms(99), "p99.9": ms(99.9), max: histogram.maxValue / 1_000 },
  };
}

/** A reader that joins takes its time; what is sent before may not be meant for it. */
async function untilFollowed(
  peer: Pick<Peer, "sendMany">,
  topic: string,
  valueBytes: number,
  followed: () => boolean,
): Promise<void> {
  const deadline = performance.now() + LATE_MS;
  while (!followed()) {
    if (performance.now() > deadline) throw new Error(`${topic}: the reader reads nothing`);
    await peer.sendMany(topic, [[stamped(valueBytes, -1)]]);
    await wait(100);
  }
}

/** Sends what is due at each turn of the timer, and does not wait for answers. Answers how many. */
async function sendAtRate(
  peer: Pick<Peer, "sendMany">,
  topic: string,
  { seconds, valueBytes }: { readonly seconds: number; readonly valueBytes: number },
): Promise<number> {
  const total = Math.floor(seconds * RATE);
  const start = performance.now();
  const open = new Set<Promise<unknown>>();
  let failure: { readonly error: unknown } | undefined;
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - start) * RATE) / 1_000));
    if (due > sent) {
      const values = Array.from({ length: due - sent }, (_, i) =>
        stamped(valueBytes, start + ((sent + i) * 1_000) / RATE),
      );
      const answer: Promise<unknown> = peer.sendMany(topic, [values]).then(
        () => open.delete(answer),
        (error: unknown) => {
          failure ??= { error };
        },
      );
      open.add(answer);
      sent = due;
    }
    if (failure !== undefined) throw failure.error;
    await wait(1);
  }
  await Promise.all(open);
  if (failure !== undefined) throw failure.error;
  return total;
}

function stamped(bytes: number, due: number): Uint8Array {
  const value = new Uint8Array(bytes);
  new DataView(value.buffer).setFloat64(0, due);
  return value;
}

async function reached(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + LATE_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${what} did not arrive in ${LATE_MS} ms`);
    await wait(10);
  }
}
