/**
 * What the producers of a chaos run send: records that say who sent them, as which attempt, and whether they are whole. Shared by the
 * producer program, the consumer program and the checker.
 */

/** One call of `send`: the sender (a producer program's one start), its sequence number, and how often it was sent before. */
export interface RecordId {
  readonly sender: string;
  readonly sequence: number;
  /** 0 at first. More only where the API said that the attempt before failed, and the application sent the record again. */
  readonly attempt: number;
}

/** An application gives up before this. */
export const attemptsMax = 100;

const KEYS = 48;
const FILLER = "abcdefghijklmnopqrstuvwxyz0123456789";
const FILLER_CHARACTERS_MAX = 400;

export function idText({ sender, sequence, attempt }: RecordId): string {
  return `${sender}:${sequence}:${attempt}`;
}

/** Undefined if it is not one of ours. */
export function parseId(text: string): RecordId | undefined {
  const match = /^([a-z0-9-]+\.\d+):(\d+):(\d+)$/.exec(text);
  if (match === null) return undefined;
  return {
    sender: match[1] as string,
    sequence: Number(match[2]),
    attempt: Number(match[3]),
  };
}

/** All senders share the keys, so that every partition has records of all of them. */
export function keyOf(sequence: number): string {
  return `key-${(sequence * 31) % KEYS}`;
}

export function contentOf(id: RecordId): string {
  return `${idText(id)}|${filler(id.sequence)}`;
}

/** The id at the front of a value, and whether key and value are what its sender sent. */
export function readContent(
  key: string,
  value: string,
): { readonly id: string; readonly intact: boolean } {
  const bar = value.indexOf("|");
  const text = bar < 0 ? value : value.slice(0, bar);
  const id = parseId(text);
  const intact = id !== undefined && key === keyOf(id.sequence) && value === contentOf(id);
  return { id: text, intact };
}

/** Lengths differ, so that batches do, and nothing can be whole by chance. */
function filler(sequence: number): string {
  const length = (sequence * 7_919) % FILLER_CHARACTERS_MAX;
  const start = sequence % FILLER.length;
  const turned = FILLER.slice(start) + FILLER.slice(0, start);
  return turned.repeat(Math.ceil(length / turned.length)).slice(0, length);
}
