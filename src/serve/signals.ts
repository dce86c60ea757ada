/**
 * SIGTERM and SIGINT as a wish to stop. Used by `serve({ signals: true })`, by the command line and by the main job.
 */
import process from "node:process";
import type { Logger } from "../core/logger.ts";

const names = ["SIGTERM", "SIGINT"] as const;

/** Exit codes of programs that a signal ended: 128 and the signal's number. */
const exitCodes = { SIGTERM: 143, SIGINT: 130 } as const;

/**
 * A signal that follows another so soon is the same wish: at Ctrl-C under `npm run` the terminal sends one and npm passes its own
 * on as well.
 */
const sameWishMs = 1_000;

/**
 * Calls `onStop` at the first signal; the next one ends the process at once, for whoever does not want to wait. Answers a function
 * that takes the handlers away.
 */
export function onStopSignal(onStop: (name: string) => void): () => void {
  let firstAt: number | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    if (firstAt === undefined) {
      firstAt = performance.now();
      onStop(name);
    } else if (performance.now() - firstAt > sameWishMs) {
      process.exit(name === "SIGINT" ? exitCodes.SIGINT : exitCodes.SIGTERM);
    }
  };
  for (const name of names) process.on(name, onSignal);
  return () => {
    for (const name of names) process.off(name, onSignal);
  };
}

/**
 * Calls `stop` at the first signal and ends the process when it has: exit code 0, or 1 if stopping failed. Answers a function that
 * takes the handlers away.
 */
export function stopAtSignal(stop: () => Promise<void>, logger: Logger): () => void {
  return onStopSignal((name) => {
    logger.info("stopping", { signal: name });
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error("could not stop cleanly", { error });
        process.exit(1);
      },
    );
  });
}
