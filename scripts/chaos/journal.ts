/**
 * The journals of the client programs: one line for each thing that happened, written before anything else follows from it, so that
 * `kill -9` at any moment leaves a true account. Written by the programs, read by the checker's side. Pure.
 *
 * Of a producer: `s FROM TO ATTEMPT` these sequences may have been sent (TO not included) · `a SEQUENCE ATTEMPT PARTITION OFFSET`
 * acknowledged · `f SEQUENCE ATTEMPT OUTCOME CODE` failed · `e` everything was settled, the program ended by itself.
 * Of a consumer: `r PARTITION OFFSET ID` read whole, `x PARTITION OFFSET ID` read damaged, `e`.
 */

/** What became of one attempt. `open`: nothing is known, its program was killed before it heard. */
export type AttemptState = "open" | "acknowledged" | "none" | "unknown";

export interface Attempt {
  readonly sequence: number;
  readonly attempt: number;
  state: AttemptState;
  /** -1 unless acknowledged. */
  partition: number;
  offset: number;
}

/** Everything that one start of a producer program said of its sends. */
export interface SenderJournal {
  readonly sender: string;
  readonly attempts: ReadonlyMap<string, Attempt>;
  /** It ended by itself, after `flush()` and `close()`. */
  readonly ended: boolean;
  /** What contradicts itself: two outcomes for one send, an outcome for none. */
  readonly contradictions: readonly string[];
}

/** Everything that one start of a consumer program read, in its order. */
export interface ReadJournal {
  readonly reader: string;
  readonly partitions: number[];
  readonly offsets: number[];
  readonly ids: string[];
  /** `partition@offset` of records that were not what was sent. */
  readonly damaged: readonly string[];
  readonly ended: boolean;
}

export const journalLine = {
  sending: (from: number, to: number, attempt: number): string => `s ${from} ${to} ${attempt}\n`,
  acknowledged: (sequence: number, attempt: number, partition: number, offset: number): string =>
    `a ${sequence} ${attempt} ${partition} ${offset}\n`,
  failed: (sequence: number, attempt: number, outcome: "none" | "unknown", code: string): string =>
    `f ${sequence} ${attempt} ${outcome} ${code}\n`,
  read: (partition: number, offset: number, id: string, intact: boolean): string =>
    `${intact ? "r" : "x"} ${partition} ${offset} ${id.replace(/\s/g, "_").slice(0, 80)}\n`,
  ended: "e\n",
} as const;

export function attemptKey(sequence: number, attempt: number): string {
  return `${sequence}:${attempt}`;
}

export function parseSenderJournal(sender: string, text: string): SenderJournal {
  const attempts = new Map<string, Attempt>();
  const contradictions: string[] = [];
  let ended = false;
  for (const words of linesOf(text)) {
    const [kind, ...rest] = words;
    const [first = 0, second = 0, third = 0, fourth = 0] = rest.map(Number);
    if (kind === "e") ended = true;
    else if (kind === "s") {
      for (let sequence = first; sequence < second; sequence++) {
        const fresh = { sequence, attempt: third, state: "open" as const };
        attempts.set(attemptKey(sequence, third), { ...fresh, partition: -1, offset: -1 });
      }
    } else if (kind === "a" || kind === "f") {
      const key = attemptKey(first, second);
      const found = attempts.get(key);
      if (found?.state !== "open") {
        contradictions.push(`${sender}:${key} is ${found?.state ?? "not sent"}, then ${kind}`);
      } else if (kind === "a") {
        Object.assign(found, { state: "acknowledged", partition: third, offset: fourth });
      } else found.state = rest[2] === "none" ? "none" : "unknown";
    }
  }
  return { sender, attempts, ended, contradictions };
}

export function parseReadJournal(reader: string, text: string): ReadJournal {
  const partitions: number[] = [];
  const offsets: number[] = [];
  const ids: string[] = [];
  const damaged: string[] = [];
  let ended = false;
  for (const [kind, partition, offset, id = ""] of linesOf(text)) {
    if (kind === "e") ended = true;
    if (kind !== "r" && kind !== "x") continue;
    partitions.push(Number(partition));
    offsets.push(Number(offset));
    ids.push(id);
    if (kind === "x") damaged.push(`${partition}@${offset} ${id}`);
  }
  return { reader, partitions, offsets, ids, damaged, ended };
}

/** A line without its end was cut off by the kill: what it would have said is not known. */
function* linesOf(text: string): Generator<string[], void, undefined> {
  let from = 0;
  for (;;) {
    const end = text.indexOf("\n", from);
    if (end < 0) return;
    yield text.slice(from, end).split(" ");
    from = end + 1;
  }
}
