/** SIGTERM and SIGINT as a wish to stop. Used by `serve({ signals: true })`. */
import process from "node:process";
import type { Logger } from "../core/logger.ts";

const names = ["SIGTERM", "SIGINT"] as const;

/**
 * Calls `stop` at the first signal and ends the process when it has: exit code 0, or 1 if stopping failed. The second signal ends
 * it at once. Answers a function that takes the handlers away.
 */
export function onSignals(stop: () => Promise<void>, logger: Logger): () => void {
  let first = true;
  const onSignal = (name: NodeJS.Signals): void => {
    if (!first) process.exit(name === "SIGINT" ? 130 : 143);
    first = false;
    logger.info("stopping", { signal: name });
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error("could not stop cleanly", { error });
        process.exit(1);
      },
    );
  };
  for (const name of names) process.on(name, onSignal);
  return () => {
    if (first) for (const name of names) process.off(name, onSignal);
  };
}
