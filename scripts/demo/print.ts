/** Lines to standard output. Not `console.log`: Bun's and Deno's says nothing when the reader is gone. */
import process from "node:process";

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Resolves when everything that was printed has been taken, or when it is known that it never will be. */
export function printed(): Promise<void> {
  return new Promise((resolve) => {
    // A turn more: the stream's error event comes after its callbacks.
    process.stdout.write("", () => setTimeout(resolve, 0));
  });
}
