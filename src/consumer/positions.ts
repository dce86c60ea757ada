/**
 * Where reading goes on, and where it pauses, as the application says: `seek`, `pause` and their kin. Moves cursors, fetches nothing.
 * Called by `consumer.ts`; made by `consumer-rooms.ts`.
 */
import type { Assignment } from "./assignment.ts";
import type { CallComponents, Persistence } from "./calls.ts";
import type { Cursor } from "./cursor.ts";
import { listOffsets } from "./offsets.ts";
import type { PartitionRef } from "./options.ts";
import type { Reader } from "./reader.ts";

export interface PositionComponents {
  readonly assignment: Assignment;
  readonly reader: Reader;
  /** For what the application asks for. */
  readonly asked: CallComponents;
  readonly patience: () => Persistence;
  /** Joins the group if that was not done yet. */
  readonly ready: () => Promise<void>;
  /** What is fetched, or to be fetched, is another now. */
  readonly changed: () => void;
}

export class Positions {
  readonly #parts: PositionComponents;

  constructor(parts: PositionComponents) {
    this.#parts = parts;
  }

  seek(targets: readonly (readonly [Cursor, number])[]): void {
    for (const [cursor, offset] of targets) cursor.seek(offset);
    this.#parts.changed();
  }

  /** `time`: ms since 1970, or one of the ends. */
  async seekTo(time: number, partitions: readonly PartitionRef[] | undefined): Promise<void> {
    const { asked, patience, ready } = this.#parts;
    await ready();
    const cursors = this.#chosen(partitions);
    if (cursors.length === 0) return;
    const offsets = await listOffsets(asked, cursors, time, patience());
    const targets = cursors.map((it) => [it, offsets.get(it.key) ?? it.position] as const);
    this.seek(targets.filter(([cursor]) => !cursor.revoked));
  }

  pause(partitions: readonly PartitionRef[] | undefined): void {
    const { reader, changed } = this.#parts;
    for (const cursor of this.#chosen(partitions)) {
      if (!cursor.paused) cursor.pause(reader.nextOffset(cursor));
    }
    changed();
  }

  resume(partitions: readonly PartitionRef[] | undefined): void {
    for (const cursor of this.#chosen(partitions)) cursor.paused = false;
    this.#parts.changed();
  }

  #chosen(partitions: readonly PartitionRef[] | undefined): Cursor[] {
    const { assignment } = this.#parts;
    if (partitions === undefined) return [...assignment.cursors];
    return partitions.map((it) => assignment.cursor(it.topic, it.partition));
  }
}
