/** Runs the garbage collector on any of the runtimes, so that a test can see what is still held. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** How many of the things are still held by somebody. */
export async function countHeld(things: readonly WeakRef<object>[]): Promise<number> {
  // What was looked at in this turn of the event loop is held until its end.
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    collect();
  }
  return things.filter((it) => it.deref() !== undefined).length;
}

function collect(): void {
  const { Bun } = globalThis as { readonly Bun?: { gc(force: boolean): void } };
  if (Bun !== undefined) {
    Bun.gc(true);
    return;
  }
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}
