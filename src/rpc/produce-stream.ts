/**
 * The agent's end of a `ProduceStream`: frames go to `AgentApi.produce` in the order in which they came, without waiting for one
 * another; answers go back as they come. At most `inFlightMax` frames are unanswered or unsent, then no more are read (and HTTP/2
 * holds the client back). What was accepted is finished whatever becomes of the client. Used by `agent/server.ts`.
 */
import { asStreamHouseError, invalid, StreamHouseError } from "../core/errors.ts";
import { Queue } from "../core/queue.ts";
import type { AgentApi, CallContext } from "./agent-api.ts";
import type {
  ProduceRequest,
  ProduceResponse,
  ProduceStreamRequest,
  ProduceStreamResponse,
} from "./gen/streamhouse/v1/producer.ts";
import { fromErrorDetail, grpcStatus, grpcStatusOf, toErrorDetail } from "./status.ts";

export interface ProduceStreamComponents {
  readonly api: Pick<AgentApi, "produce">;
  /** Frames that are read and not yet answered. */
  readonly inFlightMax: number;
  /** Aborts when the agent drains: the stream then ends as soon as what it accepted is answered. */
  readonly draining: AbortSignal;
  /** Told when a frame is handed over; what it answers is called with the frame's status. */
  frame(): (status: number) => void;
}

/**
 * Serves one stream. Ends when the client's frames end and all are answered. Otherwise throws, also only after every accepted frame was
 * answered: a client may conclude that an unanswered frame was not applied.
 * @throws StreamHouseError `AGENT_DRAINING`; `UNAUTHENTICATED` once a frame was refused with it; what the frames throw
 */
export async function* serveProduceStream(
  frames: AsyncIterable<ProduceStreamRequest>,
  components: ProduceStreamComponents,
): AsyncGenerator<ProduceStreamResponse, void, undefined> {
  const stream = new ServedStream(components);
  const onDrain = () => stream.stopReading(agentDraining());
  if (components.draining.aborted) onDrain();
  else components.draining.addEventListener("abort", onDrain, { once: true });
  try {
    void stream.read(frames);
    for (;;) {
      const answer = await stream.nextAnswer();
      if (answer === undefined) break;
      yield answer;
      stream.answered();
    }
    if (stream.failure !== undefined) throw stream.failure;
  } finally {
    components.draining.removeEventListener("abort", onDrain);
    stream.stopReading(undefined);
  }
}

/** Refuses what comes while the agent drains. */
export function agentDraining(): StreamHouseError {
  return new StreamHouseError({
    code: "AGENT_DRAINING",
    kind: "unavailable",
    message: "the agent is draining: ask the cluster for another",
  });
}

class ServedStream {
  readonly #components: ProduceStreamComponents;
  readonly #answers = new Queue<ProduceStreamResponse>();
  /** Frames read whose answer was not yet taken by the transport. */
  #open = 0;
  #reading = true;
  #wakeAnswers: (() => void) | undefined;
  #wakeReader: (() => void) | undefined;
  failure: unknown;

  constructor(components: ProduceStreamComponents) {
    this.#components = components;
  }

  stopReading(failure: unknown): void {
    if (!this.#reading) return;
    this.#reading = false;
    this.failure = failure;
    this.#wakeReader?.();
    this.#wakeAnswers?.();
  }

  async read(frames: AsyncIterable<ProduceStreamRequest>): Promise<void> {
    try {
      for await (const frame of frames) {
        // A frame that was read after the stop is dropped unanswered: certainly not applied.
        if (!this.#reading) return;
        this.#accept(frame);
        while (this.#open >= this.#components.inFlightMax && this.#reading) {
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
        }
        if (!this.#reading) return;
      }
      this.stopReading(undefined);
    } catch (error) {
      this.stopReading(error);
    }
  }

  /** The next answer, or undefined when there will be none. */
  async nextAnswer(): Promise<ProduceStreamResponse | undefined> {
    for (;;) {
      const answer = this.#answers.shift();
      if (answer !== undefined) return answer;
      if (!this.#reading && this.#open === 0) return undefined;
      await new Promise<void>((resolve) => {
        this.#wakeAnswers = resolve;
      });
    }
  }

  /** The transport took an answer. */
  answered(): void {
    this.#open--;
    this.#wakeReader?.();
  }

  #accept(frame: ProduceStreamRequest): void {
    this.#open++;
    const count = this.#components.frame();
    const { correlationId } = frame;
    this.#produce(frame).then(
      (value) => {
        count(statusOfResults(value));
        this.#answer({ correlationId, outcome: { $case: "response", value } });
      },
      (thrown: unknown) => {
        const error = asStreamHouseError(thrown, "produce");
        count(grpcStatusOf(error));
        this.#answer({ correlationId, outcome: { $case: "error", value: toErrorDetail(error) } });
        // Its key has ended: nothing more will be taken here.
        if (error.code === "UNAUTHENTICATED") this.stopReading(error);
      },
    );
  }

  /** Not `async` around the call itself: it must be made now, in order. */
  #produce(frame: ProduceStreamRequest): Promise<ProduceResponse> {
    const { request } = frame;
    if (request === undefined) {
      const message = "this frame of ProduceStream has no request in it";
      return Promise.reject(invalid("INVALID_ARGUMENT", message, { field: "request" }));
    }
    return this.#components.api.produce(request, frameContext(frame, request));
  }

  #answer(answer: ProduceStreamResponse): void {
    this.#answers.push(answer);
    this.#wakeAnswers?.();
  }
}

/** No signal: a client that goes away stops nothing that was accepted. */
function frameContext(frame: ProduceStreamRequest, request: ProduceRequest): CallContext {
  return {
    timeoutMs: request.timeoutMs || undefined,
    traceparent: frame.traceparent || undefined,
    tracestate: frame.tracestate || undefined,
  };
}

/** The error of a request of which every batch failed: the first batch's; its outcome is unknown if that of any is. */
export function failureOfAll(response: ProduceResponse): StreamHouseError | undefined {
  let first: StreamHouseError | undefined;
  let unknown = false;
  for (const { error } of response.results) {
    if (error === undefined) return undefined;
    first ??= fromErrorDetail(error);
    unknown ||= error.outcomeUnknown;
  }
  if (first === undefined || !unknown || first.outcome === "unknown") return first;
  const { code, kind, message, retriable, retryAfterMs, field, holderAddress } = first;
  return new StreamHouseError({
    ...{ code, kind, message, retriable, retryAfterMs, field, holderAddress },
    outcome: "unknown",
  });
}

/** A request counts as failed if nothing of it succeeded. */
function statusOfResults(response: ProduceResponse): number {
  const failure = failureOfAll(response);
  return failure === undefined ? grpcStatus.OK : grpcStatusOf(failure);
}
