/**
 * How far a consumer is in one partition: what it fetches next, what it handed out, what the application finished, what is
 * committed. Numbers only, no I/O; moved by the fetch loop, the reading side, the assignment and the committer.
 */
import type { AgentConnection } from "../client/transport.ts";
import { StreamHouseError } from "../core/errors.ts";
import { partitionKey } from "../core/topic.ts";
import type { PartitionCells } from "./instruments.ts";
import type { Start } from "./offsets.ts";

export interface CursorInit extends Start {
  readonly topicId: string;
  readonly topic: string;
  readonly partition: number;
  readonly cells: PartitionCells;
}

export class Cursor {
  readonly topicId: string;
  readonly topic: string;
  readonly partition: number;
  readonly key: string;
  readonly cells: PartitionCells;
  /** Rises with every seek and with revocation: what was given out under an older one can no longer be finished. */
  generation = 0;
  /** Rises with those, with pauses and with failures: what was fetched under an older one is dropped. */
  fetchGeneration = 0;
  /** Next offset to ask an agent for. */
  fetchOffset: number;
  /** Offset after the last record that the application was given. */
  position: number;
  /** Offset after the last record that the application is done with: what auto-commit commits. */
  finished: number;
  /** Where reading began, here or by a seek: what a group that has committed nothing is counted from. */
  begin: number;
  /** Last committed offset; -1 for none. */
  committed: number;
  /** Commits below it are late ones, and dropped: it rises with every commit, and falls only by a seek. */
  commitFloor: number;
  /** False until it is known where to begin (`offsetReset: "error"`): nothing is to be committed then. */
  placed: boolean;
  /** Not handed out and not fetched until `resume`. */
  paused = false;
  /** Nothing of it is given out or fetched: listeners are being told of it, or only its record in hand is waited for. */
  held = false;
  /** A run has its share of it in hand: nothing more is given out or fetched until some of that has ended. What is here stays. */
  full = false;
  revoked = false;
  /** When the group said that it is to be let go, by the monotonic clock; undefined while it is not. */
  takenAt: number | undefined;
  /** An agent refused to go on here; somebody is finding out what follows from it. */
  halted = false;
  /** Why nothing more comes until a seek. */
  failure: StreamHouseError | undefined;
  /** The agent to fetch from, believed for a while (both by the monotonic clock). */
  connection: AgentConnection | undefined;
  connectionUntil = 0;
  /** Not fetched before this moment, after failures. */
  notBefore = 0;
  failures = 0;
  /** Where it began to hand out after the last seek, how far it came from there, and what it had handed out before. */
  #begin: number;
  #furthest: number;
  #before = 0;
  /** The furthest offset that a commit may have: handed out, sought, or committed when it began. */
  #reached: number;
  /** Records below `position` that a run holds and has not given to the application yet. */
  #lent = 0;

  constructor(init: CursorInit) {
    this.topicId = init.topicId;
    this.topic = init.topic;
    this.partition = init.partition;
    this.key = partitionKey(init.topicId, init.partition);
    this.fetchOffset = init.offset;
    this.position = init.offset;
    this.finished = init.offset;
    this.begin = init.offset;
    this.committed = init.committed;
    // A start that was asked for below the committed offset is a seek back.
    this.commitFloor = Math.min(init.offset, Math.max(init.committed, 0));
    this.#begin = init.offset;
    this.#furthest = init.offset;
    this.#reached = Math.max(init.offset, init.committed);
    this.failure = init.failure;
    this.placed = init.failure === undefined;
    this.cells = init.cells;
  }

  /** `topic/partition`, for messages. */
  get name(): string {
    return `${this.topic}/${this.partition}`;
  }

  get deliverable(): boolean {
    return !this.paused && !this.held && !this.revoked;
  }

  /** Something of it may be given out now. */
  get takeable(): boolean {
    return this.deliverable && !this.full;
  }

  get fetchable(): boolean {
    return this.takeable && !this.halted && this.failure === undefined;
  }

  /** The application was given something of it that it has not finished. */
  get inHand(): boolean {
    return this.position > this.finished;
  }

  /** Records handed out so far, each once until a seek. For the audit. */
  get handedOut(): number {
    return this.#before + Math.max(this.#furthest, this.position) - this.#begin - this.#lent;
  }

  /** Nothing beyond it can have been committed. For the audit. */
  get reached(): number {
    return Math.max(this.#reached, this.#furthest, this.position);
  }

  /** What was handed out from `offset` on will be handed out again. */
  putBack(offset: number): void {
    this.#furthest = Math.max(this.#furthest, this.position);
    this.position = offset;
  }

  /** A run has taken the records below `position`; the application will be given them one by one. */
  lend(records: number, position: number): void {
    this.#lent += records;
    this.position = position;
  }

  /** The application was given a record that a run had taken. */
  given(): void {
    this.#lent--;
  }

  /** What a run took and did not finish will be given out again, in order, as if it had not been taken. */
  rewind(): void {
    this.#before = this.handedOut;
    this.#reached = this.reached;
    this.#lent = 0;
    this.#begin = this.finished;
    this.#furthest = this.finished;
    this.generation++;
    this.fetchGeneration++;
    this.fetchOffset = this.finished;
    this.position = this.finished;
    this.failure = undefined;
    this.halted = false;
  }

  /** What was fetched from `fetchOffset` on is dropped, to make room for other partitions; it is fetched again in its time. */
  refetch(fetchOffset: number): void {
    this.fetchGeneration++;
    this.fetchOffset = fetchOffset;
    this.halted = false;
  }

  /**
   * Everything up to `position` was handed out, and there is nothing before `offset` any more: that is next. What is in hand stays so,
   * and when it is finished, so is the gap.
   */
  skip(offset: number): void {
    if (this.inHand) this.lend(offset - this.position, offset);
    else this.seek(offset);
  }

  /** Everything fetched is dropped; the next record given out is the one at `offset`, and a commit commits it. */
  seek(offset: number): void {
    this.#before = this.handedOut;
    this.#reached = Math.max(this.reached, offset);
    this.#lent = 0;
    this.#begin = offset;
    this.#furthest = offset;
    this.generation++;
    this.fetchGeneration++;
    this.fetchOffset = offset;
    this.position = offset;
    this.finished = offset;
    this.begin = offset;
    this.commitFloor = Math.min(this.commitFloor, offset);
    this.failure = undefined;
    this.halted = false;
    this.placed = true;
    this.notBefore = 0;
  }

  /** What was fetched from `fetchOffset` on is dropped: kept, it would take the room of other partitions. */
  pause(fetchOffset: number): void {
    this.paused = true;
    this.fetchGeneration++;
    this.fetchOffset = fetchOffset;
    this.halted = false;
  }

  /** Nothing more is given out or committed for it. */
  revoke(): void {
    this.generation++;
    this.fetchGeneration++;
    this.revoked = true;
  }

  /** What was fetched from `offset` on is dropped, and nothing more comes until a seek. */
  fail(offset: number, error: StreamHouseError): void {
    this.fetchGeneration++;
    this.fetchOffset = offset;
    this.failure = error;
    this.halted = false;
  }
}

/** What a commit of a partition that was taken away answers. */
export function takenAway(cursor: Cursor): StreamHouseError {
  return new StreamHouseError({
    code: "GROUP_FENCED",
    kind: "fenced",
    message:
      `${cursor.name} is no longer assigned to this consumer: nothing was committed there, and what ` +
      "was not committed before will be given out again",
  });
}
