/** A shared promise, of which one caller may lose interest: its abort ends its own wait, and nothing else. */
import { StreamHouseError } from "../core/errors.ts";

/** The promise, or `ABORTED` as soon as `signal` aborts. */
export function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  doing: string,
): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => {
      signal.removeEventListener("abort", onAbort);
      const message = `${doing} was aborted by its caller`;
      reject(
        new StreamHouseError({ code: "ABORTED", kind: "closed", message, cause: signal.reason }),
      );
    };
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
}
