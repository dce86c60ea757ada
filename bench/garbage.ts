/** Collects garbage when asked, on any runtime: V8 shows how after a flag, Bun has a function. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Answers a function that collects all garbage now. @throws Error if the runtime has none */
export function collector(): () => void {
  const bun = (globalThis as { Bun?: { gc(sync: boolean): void } }).Bun;
  if (bun !== undefined) return () => bun.gc(true);
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as unknown;
  if (typeof collect !== "function") throw new Error("this runtime cannot collect when asked");
  return () => collect();
}
