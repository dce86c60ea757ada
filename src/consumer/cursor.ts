/**
 * How far a consumer is in one partition: what it fetches next, what it handed out, what the application finished, what is
 * committed. Numbers only; moved by the fetch loop, the reading side and the committer.
 */
import type { AgentConnection } from "../client/transport.ts";
import type { StreamHouseError } from "../core/errors.ts";
import { partitionKey } from "../core/topic.ts";
import type { PartitionCells } from "./instruments.ts";

export interface CursorInit {
  readonly topicId: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** -1 if the group has committed nothing here. */
  readonly committed: number;
  readonly cells: PartitionCells;
}

export class Cursor {
  readonly topicId: string;
  readonly topic: string;
  readonly partition: number;
  readonly key: string;
  readonly cells: PartitionCells;
  /** Rises with every seek and with revocation: what was fetched under an older one is dropped. */
  generation = 0;
  /** Next offset to ask an agent for. */
  fetchOffset: number;
  /** Offset after the last record that the application was given. */
  position: number;
  /** Offset after the last record that the application is done with: what auto-commit commits. */
  finished: number;
  /** Last committed offset; -1 for none. */
  committed: number;
  highWatermark = -1;
  logStart = -1;
  paused = false;
  revoked = false;
  /** Why nothing more is fetched until a seek. */
  failure: StreamHouseError | undefined;
  /** The agent to fetch from, believed for a while. */
  connection: AgentConnection | undefined;
  connectionUntil = 0;

  constructor(init: CursorInit) {
    this.topicId = init.topicId;
    this.topic = init.topic;
    this.partition = init.partition;
    this.key = partitionKey(init.topicId, init.partition);
    this.fetchOffset = init.offset;
    this.position = init.offset;
    this.finished = init.offset;
    this.committed = init.committed;
    this.cells = init.cells;
  }

  get fetchable(): boolean {
    return !this.paused && !this.revoked && this.failure === undefined;
  }

  /** Everything fetched is dropped; the next record given out is the one at `offset`, and a commit commits it. */
  seek(offset: number): void {
    this.generation++;
    this.fetchOffset = offset;
    this.position = offset;
    this.finished = offset;
    this.failure = undefined;
  }

  /** Nothing more is given out or committed for it. */
  revoke(): void {
    this.generation++;
    this.revoked = true;
  }

  /** Stops at `offset` with an error, until a seek. */
  fail(offset: number, error: StreamHouseError): void {
    this.generation++;
    this.fetchOffset = offset;
    this.failure = error;
  }
}
