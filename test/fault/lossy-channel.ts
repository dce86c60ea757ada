/** A produce channel with delays, lost answers, and breaks after which what was sent may still arrive. */
import type { ProduceChannel } from "../../src/client/transport.ts";
import type { Clock } from "../../src/core/clock.ts";
import { type ErrorOutcome, StreamHouseError } from "../../src/core/errors.ts";
import type { AgentApi, CallContext } from "../../src/rpc/agent-api.ts";
import type { ProduceRequest, ProduceResponse } from "../../src/rpc/gen/streamhouse/v1/producer.ts";

/** What the channel needs of the simulation that it is part of. */
export interface LossyWay {
  readonly clock: Clock;
  /** Of the agent that there is now. */
  readonly api: AgentApi;
  /** Within one process calls arrive at once, with the sender's own bytes. */
  readonly inOneProcess: boolean;
  /** The request as it travels. */
  copied(request: ProduceRequest): ProduceRequest;
  /** A whole number below `n`, from the seed. */
  below(n: number): number;
}

function away(outcome: ErrorOutcome): StreamHouseError {
  const message = "injected: the connection broke";
  return new StreamHouseError({ code: "AGENT_UNREACHABLE", kind: "unavailable", outcome, message });
}

interface Parcel {
  readonly deliver: () => void;
  readonly fail: (error: StreamHouseError) => void;
  delivered: boolean;
}

/** An ordered way with delays, lost answers, and breaks after which what was sent may still arrive. */
export class LossyChannel implements ProduceChannel {
  readonly #house: LossyWay;
  readonly #gone: () => void;
  readonly #open = new Set<Parcel>();
  readonly #line: Parcel[] = [];
  #moving = false;
  broken: boolean = false;

  constructor(house: LossyWay, gone: () => void) {
    this.#house = house;
    this.#gone = gone;
  }

  produce(request: ProduceRequest, call: CallContext): Promise<ProduceResponse> {
    const house = this.#house;
    if (this.broken) return Promise.reject(away("none"));
    const sent = house.copied(request);
    const { api } = house;
    return new Promise((resolve, reject) => {
      const late = new StreamHouseError({
        ...{ code: "DEADLINE_EXCEEDED", kind: "unavailable", outcome: "unknown" },
        message: "injected: no answer in time",
      });
      const timer = house.clock.schedule(call.timeoutMs ?? 30_000, () => parcel.fail(late));
      const settle = () => {
        timer.cancel();
        this.#open.delete(parcel);
      };
      const parcel: Parcel = {
        delivered: false,
        fail: (error) => {
          settle();
          reject(error);
        },
        deliver: () => {
          parcel.delivered = true;
          const isLost = house.below(20) === 0;
          api.produce(sent, { timeoutMs: request.timeoutMs }).then(
            (answer) => {
              if (isLost) return;
              settle();
              resolve(answer);
            },
            (error: StreamHouseError) => {
              if (!isLost) parcel.fail(error);
            },
          );
        },
      };
      this.#open.add(parcel);
      // Within one process calls arrive at once.
      if (house.inOneProcess) parcel.deliver();
      else {
        this.#line.push(parcel);
        this.#move();
      }
    });
  }

  /** What is on its way may still arrive at the agent that it was sent to. */
  break(): void {
    this.broken = true;
    this.#gone();
    for (const parcel of [...this.#open]) parcel.fail(away("unknown"));
  }

  async close(): Promise<void> {
    this.broken = true;
    this.#gone();
  }

  #move(): void {
    const next = this.#line[0];
    if (this.#moving || next === undefined) return;
    this.#moving = true;
    const delay = this.#house.below(10) === 0 ? this.#house.below(3_000) : this.#house.below(5);
    this.#house.clock.schedule(delay, () => {
      this.#moving = false;
      this.#line.shift();
      next.deliver();
      this.#move();
    });
  }
}
