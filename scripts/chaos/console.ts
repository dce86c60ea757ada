/** What a run says to people: lines on standard error, with the time since its start. Standard output is for the result alone. */

export type Say = (text: string) => void;

export function createSay(also: (line: string) => void = () => {}): Say {
  const start = performance.now();
  return (text) => {
    const seconds = ((performance.now() - start) / 1_000).toFixed(1).padStart(6);
    const line = `${seconds} s  ${text}`;
    console.error(line);
    also(line);
  };
}

/** A failure in one line. */
export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
