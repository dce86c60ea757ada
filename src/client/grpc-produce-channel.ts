/**
 * One `ProduceStream`: an ordered way to one agent. Frames wait here until HTTP/2 takes them (two are handed over at a time, so that
 * the pipe stays full and nothing piles up below), each has its own time limit, and answers find their frames by correlation
 * id. What is known of a frame decides the outcome of its failure: one that was never handed over is certainly not applied.
 */
import type { Client, ClientDuplexStream, ServiceError, StatusObject } from "@grpc/grpc-js";
import type { Clock, Timer } from "../core/clock.ts";
import {
  asStreamHouseError,
  closed,
  type ErrorOutcome,
  invalid,
  StreamHouseError,
} from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { Queue } from "../core/queue.ts";
import type { CallContext } from "../rpc/agent-api.ts";
import type { GatherWriter } from "../rpc/gather-writer.ts";
import type {
  ProduceRequest,
  ProduceResponse,
  ProduceStreamResponse,
} from "../rpc/gen/streamhouse/v1/producer.ts";
import { produceStreamMethod } from "../rpc/methods.ts";
import { fromErrorDetail } from "../rpc/status.ts";
import { type Authorizer, isAboutKey } from "./api-key.ts";
import type { CallMeter } from "./call-meter.ts";
import {
  aborted,
  type CalledAgent,
  callMetadata,
  errorOfCall,
  selfCopyingMessage,
} from "./grpc-call.ts";
import { StreamKey } from "./stream-key.ts";
import type { ProduceChannel } from "./transport.ts";

export interface GrpcProduceChannelComponents {
  /** @throws StreamHouseError `CLOSED` */
  client(): Client;
  readonly clock: Clock;
  readonly meter: CallMeter;
  readonly authorizer: Authorizer;
  /** The stream failed. */
  failed(error: StreamHouseError): void;
  /** The channel is of no use any more. */
  gone(): void;
}

/** Frames handed to the library and not yet taken by HTTP/2. */
const WRITES_MAX = 2;
/** When neither the call nor the request says how long to wait: as producer.proto. */
const DEFAULT_TIMEOUT_MS = 30_000;
/** How long a close waits for the agent to end the stream. */
const CLOSE_TIMEOUT_MS = 5_000;

interface Frame {
  readonly writer: GatherWriter;
  readonly resolve: (response: ProduceResponse) => void;
  readonly reject: (error: StreamHouseError) => void;
  readonly release: () => void;
  handedOver: boolean;
}

export class GrpcProduceChannel implements ProduceChannel {
  readonly #components: GrpcProduceChannelComponents;
  readonly #called: CalledAgent;
  readonly #address: string;
  readonly #key: StreamKey;
  /** Unanswered frames by correlation id. */
  readonly #frames = new Map<number, Frame>();
  /** Ids of frames that were handed over and given up; their answers are no longer wanted. */
  readonly #abandoned = new Set<number>();
  /** Ids of frames to be written; one that was given up meanwhile is no longer in `#frames`. */
  readonly #unwritten = new Queue<{ readonly id: number }>();
  #stream: ClientDuplexStream<GatherWriter, ProduceStreamResponse> | undefined;
  #writes = 0;
  #nextId = 1;
  #failure: StreamHouseError | undefined;
  #closing: Promise<void> | undefined;
  #onIdle: (() => void) | undefined;
  #onEnd: (() => void) | undefined;

  constructor(components: GrpcProduceChannelComponents, called: CalledAgent) {
    this.#components = components;
    this.#called = called;
    this.#address = called.address;
    this.#key = new StreamKey(components.authorizer);
  }

  get broken(): boolean {
    return this.#failure !== undefined || this.#closing !== undefined;
  }

  produce(request: ProduceRequest, call: CallContext): Promise<ProduceResponse> {
    try {
      this.#checkUsable(call);
      const id = this.#takeId();
      const writer = this.#write(id, request, call);
      return new Promise((resolve, reject) => {
        this.#frames.set(id, this.#frame(id, writer, request, call, resolve, reject));
        this.#unwritten.push({ id });
        this.#pump();
      });
    } catch (error) {
      return Promise.reject(asStreamHouseError(error, produceStreamMethod.name));
    }
  }

  /** Takes no more requests; resolves when every answer came (or its time limit), bounded. */
  close(): Promise<void> {
    this.#closing ??= this.#finish();
    return this.#closing;
  }

  #checkUsable(call: CallContext): void {
    if (call.signal?.aborted) {
      throw aborted(produceStreamMethod.name, "none", call.signal.reason);
    }
    if (this.#failure !== undefined) throw afterFailure(this.#failure);
    if (this.#closing !== undefined) throw afterFailure(closed("this produce channel"));
    if (this.#frames.size < limits.inFlightPerConnectionMax) return;
    throw new StreamHouseError({
      code: "OVERLOADED",
      kind: "unavailable",
      message:
        `${limits.inFlightPerConnectionMax} requests to agent ${this.#address} wait for an answer: ` +
        "wait for some before sending more",
    });
  }

  #takeId(): number {
    while (this.#frames.has(this.#nextId) || this.#abandoned.has(this.#nextId))
      this.#nextId = nextId(this.#nextId);
    const id = this.#nextId;
    this.#nextId = nextId(id);
    return id;
  }

  #write(correlationId: number, request: ProduceRequest, call: CallContext): GatherWriter {
    const { traceparent = "", tracestate = "" } = call;
    const writer = produceStreamMethod.writeRequest({
      ...{ correlationId, request, traceparent, tracestate },
    });
    const size = writer.size();
    if (size <= limits.messageBytesMax) return writer;
    throw invalid(
      "REQUEST_TOO_LARGE",
      `a produce request of ${size} bytes is over the limit of ${limits.messageBytesMax}: send fewer batches in one`,
      { field: "batches" },
    );
  }

  #frame(
    id: number,
    writer: GatherWriter,
    request: ProduceRequest,
    call: CallContext,
    resolve: (response: ProduceResponse) => void,
    reject: (error: StreamHouseError) => void,
  ): Frame {
    const timeoutMs = call.timeoutMs ?? (request.timeoutMs || DEFAULT_TIMEOUT_MS);
    const timer: Timer = this.#components.clock.schedule(timeoutMs, () =>
      this.#giveUp(id, (outcome) => this.#late(timeoutMs, outcome)),
    );
    const { signal } = call;
    const onAbort = () =>
      this.#giveUp(id, (outcome) => aborted(produceStreamMethod.name, outcome, signal?.reason));
    signal?.addEventListener("abort", onAbort, { once: true });
    const release = () => {
      timer.cancel();
      signal?.removeEventListener("abort", onAbort);
    };
    return { writer, resolve, reject, release, handedOver: false };
  }

  #giveUp(id: number, error: (outcome: ErrorOutcome) => StreamHouseError): void {
    const frame = this.#take(id);
    if (frame === undefined) return;
    frame.reject(error(frame.handedOver ? "unknown" : "none"));
    if (!frame.handedOver) return;
    this.#abandoned.add(id);
    // An agent that leaves so many unanswered is of no use: a new stream may reach a better one.
    if (this.#abandoned.size >= limits.inFlightPerConnectionMax) this.#stream?.cancel();
  }

  #late(timeoutMs: number, outcome: ErrorOutcome): StreamHouseError {
    const left = outcome === "none" ? " (it was not sent yet)" : "";
    return new StreamHouseError({
      code: "DEADLINE_EXCEEDED",
      kind: "unavailable",
      outcome,
      message: `produce at agent ${this.#address} had no answer within ${timeoutMs} ms${left}`,
    });
  }

  #take(id: number): Frame | undefined {
    const frame = this.#frames.get(id);
    if (frame === undefined) return undefined;
    this.#frames.delete(id);
    frame.release();
    if (this.#frames.size === 0) this.#onIdle?.();
    return frame;
  }

  /** Hands frames over as fast as HTTP/2 takes them. */
  #pump(): void {
    while (this.#writes < WRITES_MAX && this.#failure === undefined) {
      const next = this.#unwritten.peek();
      if (next === undefined) return;
      const frame = this.#frames.get(next.id);
      const stream = frame && (this.#stream ?? this.#open());
      if (frame !== undefined && stream === undefined) return;
      this.#unwritten.shift();
      if (frame === undefined || stream === undefined) continue;
      frame.handedOver = true;
      this.#writes++;
      stream.write(frame.writer, () => {
        this.#writes--;
        this.#pump();
      });
    }
  }

  #open(): ClientDuplexStream<GatherWriter, ProduceStreamResponse> | undefined {
    const hasKey = this.#key.atHand(
      () => this.#pump(),
      (error) => this.#break(error),
    );
    if (!hasKey) return undefined;
    let stream: ClientDuplexStream<GatherWriter, ProduceStreamResponse>;
    const measure = this.#components.meter.begin(produceStreamMethod.path);
    try {
      stream = this.#components
        .client()
        .makeBidiStreamRequest(
          produceStreamMethod.path,
          selfCopyingMessage,
          produceStreamMethod.decodeResponse,
          callMetadata({}, this.#key.authorization),
        );
    } catch (error) {
      this.#break(asStreamHouseError(error, produceStreamMethod.name));
      return undefined;
    }
    this.#stream = stream;
    // The whole stream is one call; it has a status however it ends.
    stream.on("status", ({ code }: StatusObject) => measure(code));
    stream.on("data", (answer: ProduceStreamResponse) => this.#answered(answer));
    stream.on("error", (error: ServiceError) => {
      // Answers that came before the status may still lie in the stream's buffer; reading emits them.
      while (stream.read() !== null);
      this.#break(this.#key.judge(errorOfCall(error, produceStreamMethod.name, this.#called)));
    });
    // A stream that ends well answered all that it took.
    stream.on("end", () => this.#break(this.#ended()));
    return stream;
  }

  #answered(answer: ProduceStreamResponse): void {
    const frame = this.#take(answer.correlationId);
    if (frame === undefined) {
      this.#abandoned.delete(answer.correlationId);
      return;
    }
    switch (answer.outcome?.$case) {
      case "response":
        frame.resolve(answer.outcome.value);
        return;
      case "error":
        frame.reject(this.#key.judge(fromErrorDetail(answer.outcome.value)));
        // The key of this stream is not in force any more: the next one is opened with another.
        if (answer.outcome.value.code === "UNAUTHENTICATED") void this.close();
        return;
      default:
        frame.reject(emptyAnswer(this.#address));
    }
  }

  #ended(): StreamHouseError {
    return new StreamHouseError({
      code: "AGENT_UNREACHABLE",
      kind: "unavailable",
      message: `agent ${this.#address} ended the produce stream`,
    });
  }

  /** The stream is over: every frame that it still has fails, each with what is known of it. */
  #break(failure: StreamHouseError): void {
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    if (this.#closing === undefined) this.#components.failed(failure);
    this.#components.gone();
    this.#unwritten.clear();
    for (const [id, frame] of [...this.#frames]) {
      this.#take(id);
      // What is wrong with the key is so for all frames, on any channel.
      const isForAll = frame.handedOver || isAboutKey(failure);
      frame.reject(isForAll ? failure : afterFailure(failure));
    }
    this.#onEnd?.();
  }

  async #finish(): Promise<void> {
    if (this.#frames.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    const stream = this.#stream;
    if (stream === undefined || this.#failure !== undefined) {
      this.#components.gone();
      return;
    }
    await new Promise<void>((resolve) => {
      const timer = this.#components.clock.schedule(CLOSE_TIMEOUT_MS, () => stream.cancel());
      this.#onEnd = () => {
        timer.cancel();
        resolve();
      };
      // The agent ends the stream when it has answered everything; nobody waits here for what was given up.
      if (this.#abandoned.size > 0) stream.cancel();
      else stream.end();
    });
  }
}

function nextId(id: number): number {
  return id === 0xffff_ffff ? 1 : id + 1;
}

/** For a request that was not handed over: not applied, and to be sent on another channel. */
function afterFailure(failure: StreamHouseError): StreamHouseError {
  const { code, kind, message, holderAddress, retryAfterMs } = failure;
  return new StreamHouseError({
    ...{ code, kind, message, holderAddress, retryAfterMs },
    retriable: true,
    outcome: "none",
    cause: failure,
  });
}

function emptyAnswer(address: string): StreamHouseError {
  return new StreamHouseError({
    code: "INTERNAL",
    kind: "internal",
    outcome: "unknown",
    message: `agent ${address} answered a produce request with nothing: is it as new as this client?`,
  });
}
