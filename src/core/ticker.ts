/** Work that is done again and again, never twice at once, and that ends for good. For renewals, refreshes, heartbeats. */
import type { Clock, Timer } from "./clock.ts";

export interface Ticker {
  /**
   * Runs now, or once more right after the run under way. Resolves when a run that began after this call has
   * ended. Resolves at once after `stop()`.
   */
  poke(): Promise<void>;
  /** No run begins any more; resolves when the one under way has ended. */
  stop(): Promise<void>;
}

export interface TickerOptions {
  /** Pause between the end of one run and the start of the next, in ms. */
  readonly intervalMs: number;
  /** The work. It must handle its own errors: what it throws ends nothing and is given to `onError`. */
  readonly run: () => void | Promise<void>;
  readonly onError: (error: unknown) => void;
  /** The first run begins at once instead of after an interval. Default false. */
  readonly immediate?: boolean | undefined;
}

export function createTicker(clock: Clock, options: TickerOptions): Ticker {
  let timer: Timer | undefined;
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let stopped = false;

  const runOnce = async (): Promise<void> => {
    try {
      await options.run();
    } catch (error) {
      options.onError(error);
    } finally {
      running = undefined;
      // `next` has its own continuation and arms the timer when it is done.
      if (!stopped && next === undefined) arm();
    }
  };
  const begin = (): Promise<void> => {
    timer?.cancel();
    running = runOnce();
    return running;
  };
  const arm = (): void => {
    timer?.cancel();
    timer = clock.schedule(options.intervalMs, () => void begin(), { background: true });
  };

  if (options.immediate) void begin();
  else arm();

  return {
    poke(): Promise<void> {
      if (stopped) return Promise.resolve();
      if (running === undefined) return begin();
      next ??= running.then(() => {
        next = undefined;
        return stopped ? undefined : begin();
      });
      return next;
    },
    async stop(): Promise<void> {
      stopped = true;
      timer?.cancel();
      await running;
    },
  };
}
