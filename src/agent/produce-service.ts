/**
 * `AgentApi.produce`: checks the request and its batches' bytes, finds the topics, and hands what is sound to the append
 * gate, in the order of the calls. Each call is one `ProducerService.produce` span, whichever way it came. Called by
 * the services.
 */
import { isSpanContextValid, type Span, type SpanContext } from "@opentelemetry/api";
import type { Clock } from "../core/clock.ts";
import { asStreamHouseError, invalid, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { checkPartition, partitionKey, type Topic } from "../core/topic.ts";
import { checkBatch } from "../format/batch-check.ts";
import type { BatchHeader } from "../format/batch-header.ts";
import type { CallContext } from "../rpc/agent-api.ts";
import {
  Acks,
  type Batch,
  type BatchResult,
  type ProduceRequest,
  type ProduceResponse,
} from "../rpc/gen/streamhouse/v1/producer.ts";
import { fromErrorDetail, grpcStatusName, grpcStatusOf } from "../rpc/status.ts";
import { endCall, startProduceServerSpan } from "../telemetry/rpc-spans.ts";
import { addFailureEvent } from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { AppendGate, CheckedBatch } from "./append-gate.ts";
import { claimedRecords } from "./batch-walk.ts";
import type { ResolvedAgentOptions } from "./options.ts";
import { type TopicRef, type Topics, topicNotFound } from "./topics.ts";

export interface ProduceServiceComponents {
  readonly gate: AppendGate;
  readonly topics: Topics;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}

const TIMEOUT_MS = 30_000;

/** A call with what is known of it before its request is looked at. */
interface Traced {
  readonly call: CallContext;
  readonly receivedAt: number;
  readonly spanContext: SpanContext | undefined;
}

export class ProduceService {
  readonly #gate: AppendGate;
  readonly #topics: Topics;
  readonly #clock: Clock;
  readonly #telemetry: Telemetry;
  readonly #options: ResolvedAgentOptions;
  /** The last call that waits to learn what a topic is; later calls for that topic queue up behind it. */
  readonly #queues = new Map<string, Promise<void>>();

  constructor(components: ProduceServiceComponents, options: ResolvedAgentOptions) {
    this.#gate = components.gate;
    this.#topics = components.topics;
    this.#clock = components.clock;
    this.#telemetry = components.telemetry;
    this.#options = options;
  }

  /** @throws StreamHouseError see `ProducerService.Produce` */
  async produce(request: ProduceRequest, call: CallContext): Promise<ProduceResponse> {
    const receivedAt = this.#clock.monotonic();
    const span = startSpan(this.#telemetry, request, call);
    const traced = { call, receivedAt, spanContext: validContext(span) };
    try {
      const response = await this.#produce(request, traced);
      tellRefusals(span, request, response.results);
      endCall(span, "server", "OK");
      return response;
    } catch (error) {
      const failure = asStreamHouseError(error, "ProducerService.produce");
      if (failure.kind === "fenced" || failure.outcome === "unknown") {
        addFailureEvent(span, "refused", failure);
      }
      endCall(span, "server", grpcStatusName(grpcStatusOf(failure)), failure);
      throw error;
    }
  }

  async #produce(request: ProduceRequest, traced: Traced): Promise<ProduceResponse> {
    checkShape(request);
    try {
      // No `await` before the gate when every topic is known: that is what keeps calls in order.
      const results = this.#isReady(request.batches)
        ? await this.#append(request, traced)
        : await this.#appendInTurn(request, traced);
      return { results };
    } catch (error) {
      // Nothing is promised with acks none: only bad input is worth telling.
      const bad = StreamHouseError.is(error) && error.kind === "invalid";
      if (request.acks === Acks.ACKS_NONE && !bad) {
        return { results: request.batches.map(unanswered) };
      }
      throw error;
    }
  }

  #isReady(batches: readonly Batch[]): boolean {
    return batches.every((it) => this.#topics.known(refOf(it)) && !this.#queues.has(queueOf(it)));
  }

  async #appendInTurn(request: ProduceRequest, traced: Traced): Promise<BatchResult[]> {
    const queues = new Set(request.batches.map(queueOf));
    const ahead = [...queues].map((it) => this.#queues.get(it));
    const turn = Promise.withResolvers<void>();
    for (const queue of queues) this.#queues.set(queue, turn.promise);
    let answer: Promise<BatchResult[]>;
    try {
      await Promise.all(ahead);
      for (const [i, batch] of request.batches.entries()) {
        await this.#topics.find(refOf(batch)).catch((error: unknown) => {
          throw at(i, "topic", error);
        });
      }
      answer = this.#append(request, traced);
    } finally {
      for (const queue of queues) {
        if (this.#queues.get(queue) === turn.promise) this.#queues.delete(queue);
      }
      turn.resolve();
    }
    return answer;
  }

  #append(request: ProduceRequest, traced: Traced): Promise<BatchResult[]> {
    const { call, receivedAt, spanContext } = traced;
    const batches = this.#check(request);
    const asked = request.timeoutMs > 0 ? request.timeoutMs : TIMEOUT_MS;
    const timeoutMs = Math.min(asked, call.timeoutMs ?? asked);
    return this.#gate.append(batches, {
      durable: isDurable(request.acks),
      receivedAt,
      deadlineAt: receivedAt + timeoutMs,
      timeoutMs,
      signal: call.signal,
      spanContext,
    });
  }

  /** All batches are looked at before any is applied. */
  #check(request: ProduceRequest): CheckedBatch[] {
    const seen = new Set<string>();
    return request.batches.map((batch, i) => {
      const topic = this.#topics.known(refOf(batch));
      if (topic === undefined) throw at(i, "topic", topicNotFound(refOf(batch)));
      const header = this.#checkBytes(i, topic, batch);
      const key = partitionKey(topic.id, batch.partition);
      if (seen.has(key)) {
        const where = `${topic.name}/${batch.partition}`;
        throw bad(i, "partition", `has a second batch for ${where}: send one for each partition`);
      }
      seen.add(key);
      if (header.producerId >= 0 && !isDurable(request.acks)) {
        throw bad(
          i,
          "records",
          "has a producer id, which needs acks durable: send it with producerId -1, or with durable acks",
        );
      }
      return { topic, partition: batch.partition, bytes: batch.records, header };
    });
  }

  #checkBytes(i: number, topic: Topic, batch: Batch): BatchHeader {
    try {
      checkPartition(topic, batch.partition);
    } catch (error) {
      throw at(i, "partition", error);
    }
    try {
      return checkBatch(batch.records, {
        nowMs: this.#clock.now(),
        timestampFutureMsMax: this.#options.timestampFutureMsMax,
        timestampPastMsMax: this.#options.timestampPastMsMax,
      });
    } catch (error) {
      throw at(i, "records", error, `${topic.name}/${batch.partition}: `);
    }
  }
}

function startSpan(
  telemetry: Telemetry,
  request: ProduceRequest,
  call: CallContext,
): Span | undefined {
  if (!telemetry.traces) return undefined;
  let bytes = 0;
  let recordCount = 0;
  for (const { records } of request.batches) {
    bytes += records.length;
    recordCount += claimedRecords(records);
  }
  const batches = request.batches.length;
  return startProduceServerSpan(telemetry, call, { recordCount, batches, bytes });
}

/** Events of one span: a request of hundreds of batches must not make a span of hundreds of events. */
const eventsMax = 16;

/** Batches that were not taken, in a request that was. */
function tellRefusals(
  span: Span | undefined,
  request: ProduceRequest,
  results: readonly BatchResult[],
): void {
  if (!span?.isRecording()) return;
  let refused = 0;
  results.forEach(({ error }, i) => {
    if (error === undefined || ++refused > eventsMax) return;
    const { topic = "", partition = -1 } = request.batches[i] ?? {};
    addFailureEvent(span, "refused", fromErrorDetail(error), { topic, partition });
  });
  if (refused > 0) span.setAttribute("failed_batches", refused);
}

/** Without an SDK a span's context is all zeros, or the caller's. */
function validContext(span: Span | undefined): SpanContext | undefined {
  const context = span?.spanContext();
  return context !== undefined && isSpanContextValid(context) ? context : undefined;
}

function checkShape(request: ProduceRequest): void {
  const { acks, batches } = request;
  if (acks < Acks.ACKS_UNSPECIFIED || acks > Acks.ACKS_NONE) {
    throw invalid("INVALID_ARGUMENT", `acks is ${acks}: expected 1 (durable), 2 or 3`, {
      field: "acks",
    });
  }
  if (batches.length === 0) {
    throw invalid("INVALID_ARGUMENT", "a produce request needs at least one batch", {
      field: "batches",
    });
  }
  if (batches.length > limits.batchesPerRequestMax) {
    throw invalid(
      "REQUEST_TOO_LARGE",
      `${batches.length} batches in one request, the limit is ${limits.batchesPerRequestMax}: send several requests`,
      { field: "batches" },
    );
  }
  let bytes = 0;
  for (const batch of batches) bytes += batch.records.length;
  if (bytes > limits.requestBytesMax) {
    throw invalid(
      "REQUEST_TOO_LARGE",
      `${bytes} bytes of batches in one request, the limit is ${limits.requestBytesMax}: send several requests`,
      { field: "batches" },
    );
  }
  batches.forEach((batch, i) => {
    if (batch.topic === "" && batch.topicId === "") {
      throw bad(i, "topic", "names no topic: set topic or topic_id");
    }
  });
}

function isDurable(acks: Acks): boolean {
  return acks !== Acks.ACKS_BUFFERED && acks !== Acks.ACKS_NONE;
}

function refOf(batch: Batch): TopicRef {
  return { name: batch.topic, topicId: batch.topicId };
}

function queueOf(batch: Batch): string {
  return batch.topic === "" ? batch.topicId : batch.topic;
}

function unanswered(batch: Batch): BatchResult {
  const { topicId, partition } = batch;
  return {
    topicId,
    partition,
    baseOffset: -1,
    appendTimeMs: 0,
    duplicate: false,
    error: undefined,
  };
}

function bad(i: number, field: string, problem: string): StreamHouseError {
  return invalid("INVALID_ARGUMENT", `batches[${i}] ${problem}`, {
    field: `batches[${i}].${field}`,
  });
}

/** The same error, with the place in the request. */
function at(i: number, field: string, error: unknown, prefix = ""): unknown {
  if (!StreamHouseError.is(error)) return error;
  const { code, retriable, outcome, cause } = error;
  return new StreamHouseError({
    code,
    // Damaged bytes from a client are bad input: nothing that is stored is damaged.
    kind: error.kind === "corrupt" ? "invalid" : error.kind,
    retriable,
    outcome,
    cause,
    message: `batches[${i}]: ${prefix}${error.message}`,
    field: `batches[${i}].${field}`,
  });
}
