/**
 * Tells the operator of clients that did not come through the TLS handshake. One line in ten seconds at most: whoever can reach the port
 * can fail as often as it likes. Used by `agent/server.ts`.
 */
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";

const PAUSE_MS = 10_000;

export class HandshakeLog {
  readonly #logger: Logger;
  readonly #clock: Clock;
  #toldAt = Number.NEGATIVE_INFINITY;
  #untold = 0;

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  failed(error: Error, from: string | undefined): void {
    const now = this.#clock.monotonic();
    if (now - this.#toldAt < PAUSE_MS) {
      this.#untold++;
      return;
    }
    this.#toldAt = now;
    const others = this.#untold;
    this.#untold = 0;
    this.#logger.warn("a TLS handshake failed: the client is refused", {
      from,
      reason: error.message.replace(/\s+/g, " ").slice(0, 200),
      others,
    });
  }
}
