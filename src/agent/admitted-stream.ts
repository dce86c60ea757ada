/**
 * The Produce calls of one stream, each admitted before it is passed on, in the order in which they are made: a call that must wait to be
 * admitted holds up those behind it. Nothing is put between calls that need not wait. Called by `access.ts`.
 */
import type { AgentApi, CallContext } from "../rpc/agent-api.ts";
import type { ProduceRequest, ProduceResponse } from "../rpc/gen/streamhouse/v1/producer.ts";
import type { Principal } from "./key-ring.ts";

export interface AdmittedStreamComponents extends Pick<AgentApi, "produce"> {
  /** Answers at once where it can; throws or rejects for what is refused. */
  readonly admit: (request: ProduceRequest, call: CallContext) => Principal | Promise<Principal>;
}

export class AdmittedStream implements Pick<AgentApi, "produce"> {
  readonly #parts: AdmittedStreamComponents;
  /** Calls that wait to be admitted. */
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(components: AdmittedStreamComponents) {
    this.#parts = components;
  }

  produce(request: ProduceRequest, call: CallContext): Promise<ProduceResponse> {
    if (this.#waiting > 0)
      return this.#inTurn(() => this.#parts.admit(request, call), request, call);
    let admitted: Principal | Promise<Principal>;
    try {
      admitted = this.#parts.admit(request, call);
    } catch (error) {
      return Promise.reject(error);
    }
    if (admitted instanceof Promise) return this.#inTurn(() => admitted, request, call);
    return this.#parts.produce(request, call);
  }

  /** Passes the call on at the moment at which nobody is before it. */
  #inTurn(
    admit: () => Principal | Promise<Principal>,
    request: ProduceRequest,
    call: CallContext,
  ): Promise<ProduceResponse> {
    this.#waiting++;
    const passed = this.#last.then(admit).then(
      () => {
        this.#waiting--;
        // Made here, and its answer not waited for by those behind.
        return { answer: this.#parts.produce(request, call) };
      },
      (error: unknown) => {
        this.#waiting--;
        throw error;
      },
    );
    this.#last = passed.catch(() => {});
    return passed.then(({ answer }) => answer);
  }
}
