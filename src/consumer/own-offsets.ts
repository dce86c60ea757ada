/**
 * Offsets that the application keeps itself, in the transaction that writes what it made of the records: exactly once into its own
 * database. This room asks for them, for a limited time, and checks the answer. It keeps nothing. Called by `offsets.ts`.
 */
import { abortable } from "../client/abortable.ts";
import type { Clock } from "../core/clock.ts";
import { asStreamHouseError, invalid, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { PartitionRef, StartOffset, StartOffsets } from "./options.ts";

export interface OwnOffsetsComponents {
  readonly clock: Clock;
  /** How long the application may take, ms. */
  readonly requestTimeoutMs: number;
}

/**
 * The application's offsets by `topic/partition`.
 * @throws StreamHouseError `DEADLINE_EXCEEDED` (asked again later), `ABORTED`, `INVALID_ARGUMENT` for an answer that cannot be meant,
 * `INTERNAL` with what the application threw as its cause
 */
export async function ownOffsets(
  { clock, requestTimeoutMs }: OwnOffsetsComponents,
  ask: StartOffsets,
  partitions: readonly PartitionRef[],
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, number>> {
  const limit = new AbortController();
  const end = () => limit.abort();
  const timer = clock.schedule(requestTimeoutMs, end);
  signal?.addEventListener("abort", end, { once: true });
  if (signal?.aborted) end();
  try {
    const named = partitions.map(({ topic, partition }) => ({ topic, partition }));
    // What it throws before its first await is an answer like any other.
    const asking = (async () => ask(named, { signal: limit.signal }))();
    return checked(named, await abortable(asking, limit.signal, "startOffsets"));
  } catch (thrown) {
    if (limit.signal.aborted && !signal?.aborted) throw tooSlow(requestTimeoutMs, thrown);
    throw asStreamHouseError(thrown, "the consumer option startOffsets");
  } finally {
    timer.cancel();
    signal?.removeEventListener("abort", end);
  }
}

/** `topic/partition`: a topic's name holds no slash. */
export function nameOf({ topic, partition }: PartitionRef): string {
  return `${topic}/${partition}`;
}

function checked(
  asked: readonly PartitionRef[],
  answer: readonly StartOffset[],
): ReadonlyMap<string, number> {
  const names = new Set(asked.map(nameOf));
  const offsets = new Map<string, number>();
  for (const it of answer) {
    const name = nameOf(it);
    if (!names.has(name) || offsets.has(name)) {
      const why = offsets.has(name) ? "twice" : "without being asked for it";
      throw refused(`startOffsets answered ${name} ${why}`);
    }
    if (!Number.isSafeInteger(it.offset) || it.offset < 0 || it.offset > limits.offsetMax) {
      throw refused(
        `startOffsets answered offset ${it.offset} for ${name}: use a whole number from 0`,
      );
    }
    offsets.set(name, it.offset);
  }
  return offsets;
}

function refused(message: string): StreamHouseError {
  return invalid("INVALID_ARGUMENT", message, { field: "startOffsets" });
}

function tooSlow(ms: number, cause: unknown): StreamHouseError {
  return new StreamHouseError({
    code: "DEADLINE_EXCEEDED",
    kind: "unavailable",
    message: `startOffsets did not answer within ${ms} ms: the partitions wait, and it is asked again`,
    cause,
  });
}
