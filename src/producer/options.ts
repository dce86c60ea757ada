/**
 * What a producer can be told: plain data, resolved and frozen once. Components (cluster, clock, telemetry) come in through
 * `ClientContext`. Read by every room of this wing.
 */
import { invalid, type StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { Compression } from "../format/compression.ts";
import type { Partitioner } from "./partitioner.ts";

/** When a send counts as done; `docs/guarantees.md` says what each one can lose. */
export type Acks = "durable" | "buffered" | "none";

/** How a producer behaves. Every setting has a default that suits most. */
export interface ProducerOptions {
  /**
   * `durable` (default): answered when the record is in the object store and committed. `buffered`: answered when the
   * agent has accepted it; lost if the agent dies, or loses the partition to another agent, before its next flush (an agent
   * that is stopped in order flushes first). `none`: answered when the agent has received it; lost as well if the agent refuses
   * it, as one does that no longer holds the partition. The last two answer no offset, and are not sent again when it is not known
   * whether they arrived.
   */
  readonly acks?: Acks | undefined;
  /**
   * Retries never write a record twice, over a fail-over either. Default: true with durable acks, false otherwise (true is refused
   * there: nobody keeps sequences for records that may be lost). Without it a batch whose outcome is not known fails with outcome
   * `unknown`: an agent that dies or is cut off in the middle fails what was on its way to it.
   */
  readonly idempotent?: boolean | undefined;
  /** A batch is sent when it has this many bytes (before compression). Default 1 MiB. */
  readonly batchBytes?: number | undefined;
  /** A batch that is not full waits this long for more records, in ms. Default 5; 0 sends at once. */
  readonly lingerMs?: number | undefined;
  /**
   * Requests that may be unanswered at one agent. Default and maximum 5. Without idempotence a partition has one
   * batch on its way at most, because order could not be kept otherwise.
   */
  readonly inFlight?: number | undefined;
  /** Bytes of unacknowledged records; above it `send()` waits its turn. Default 32 MiB. */
  readonly bufferBytes?: number | undefined;
  /** From the call of `send()` until it has failed at the latest, in ms, retries included. Default 120,000. */
  readonly deliveryTimeoutMs?: number | undefined;
  /** How long one request may take, in ms. Default 30,000. */
  readonly requestTimeoutMs?: number | undefined;
  /** Pause before the first retry, in ms; it doubles with each and is jittered by a fifth. Default 100. */
  readonly retryBackoffMs?: number | undefined;
  /** Longest pause between retries, in ms. Default 1,000. */
  readonly retryBackoffMaxMs?: number | undefined;
  /** Codec of batches. Default `none`. */
  readonly compression?: Compression | undefined;
  /** Picks partitions. Default: murmur2 for keys, as Kafka's clients; for records without one partition a batch, in turn. */
  readonly partitioner?: Partitioner | undefined;
}

/** `ProducerOptions` with every default filled in. */
export interface ResolvedProducerOptions {
  readonly acks: Acks;
  readonly idempotent: boolean;
  readonly batchBytes: number;
  readonly lingerMs: number;
  readonly inFlight: number;
  readonly bufferBytes: number;
  readonly deliveryTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly retryBackoffMs: number;
  readonly retryBackoffMaxMs: number;
  readonly compression: Compression;
  readonly partitioner: Partitioner | undefined;
}

const ACKS: readonly Acks[] = ["durable", "buffered", "none"];
const COMPRESSIONS: readonly Compression[] = ["none", "gzip", "zstd"];

/** The longest a timer of any runtime can wait: 2^31 - 1 ms, about 24 days. */
const TIMER_MS_MAX = 2_147_483_647;

/**
 * Fills in defaults and checks values and their relations.
 * @throws StreamHouseError `INVALID_ARGUMENT` naming the option, what it was and what is allowed
 */
export function resolveProducerOptions(options: ProducerOptions = {}): ResolvedProducerOptions {
  const acks = oneOf("acks", options.acks ?? "durable", ACKS);
  const idempotent = options.idempotent ?? acks === "durable";
  if (typeof idempotent !== "boolean") throw wrong("idempotent", idempotent, "true or false");
  if (idempotent && acks !== "durable") {
    throw invalid(
      "INVALID_ARGUMENT",
      `producer option idempotent: true needs acks: "durable", but acks is "${acks}": leave idempotent out, or use durable acks`,
      { field: "idempotent" },
    );
  }
  const retryBackoffMs = whole("retryBackoffMs", options.retryBackoffMs ?? 100, 1, TIMER_MS_MAX);
  const partitioner = options.partitioner;
  if (partitioner !== undefined && typeof partitioner !== "function") {
    throw wrong("partitioner", partitioner, "a function");
  }
  return Object.freeze({
    acks,
    idempotent,
    batchBytes: whole("batchBytes", options.batchBytes ?? 1_048_576, 1, limits.batchBytesMax),
    lingerMs: whole("lingerMs", options.lingerMs ?? 5, 0, TIMER_MS_MAX),
    inFlight: whole("inFlight", options.inFlight ?? 5, 1, limits.sequencesRememberedPerProducer),
    bufferBytes: whole("bufferBytes", options.bufferBytes ?? 33_554_432, 1, 2 ** 40),
    deliveryTimeoutMs: whole(
      "deliveryTimeoutMs",
      options.deliveryTimeoutMs ?? 120_000,
      1,
      TIMER_MS_MAX,
    ),
    requestTimeoutMs: whole(
      "requestTimeoutMs",
      options.requestTimeoutMs ?? 30_000,
      1,
      TIMER_MS_MAX,
    ),
    retryBackoffMs,
    retryBackoffMaxMs: whole(
      "retryBackoffMaxMs",
      options.retryBackoffMaxMs ?? Math.max(1_000, retryBackoffMs),
      retryBackoffMs,
      TIMER_MS_MAX,
    ),
    compression: oneOf("compression", options.compression ?? "none", COMPRESSIONS),
    partitioner,
  });
}

function whole(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw wrong(name, value, `a whole number from ${min} to ${max}`);
}

function oneOf<T extends string>(name: string, value: T, allowed: readonly T[]): T {
  if (allowed.includes(value)) return value;
  throw wrong(name, value, allowed.map((x) => `"${x}"`).join(", "));
}

function wrong(name: string, value: unknown, expected: string): StreamHouseError {
  const shown = typeof value === "string" ? JSON.stringify(value.slice(0, 60)) : String(value);
  return invalid(
    "INVALID_ARGUMENT",
    `producer option ${name} is ${shown.slice(0, 80)}: use ${expected}`,
    { field: name },
  );
}
