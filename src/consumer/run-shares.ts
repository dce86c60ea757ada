/**
 * Which partitions have enough of a run's buffer for now: one whose records do not get on must not take the room of all others, nor run
 * far ahead of its first unfinished record. They are read on when some of it has ended. Called by `run.ts`.
 */
import type { Cursor } from "./cursor.ts";
import { Share } from "./run-buffer.ts";
import type { RunSchedule } from "./run-schedule.ts";

export interface ShareComponents {
  readonly schedule: RunSchedule;
  readonly cursors: () => Iterable<Cursor>;
  /** What is fetched, or to be fetched, is another now. */
  readonly changed: () => void;
  /** Makes room where full partitions hold what others would be fetched into. */
  readonly makeRoom: (full: ReadonlySet<Cursor>) => void;
  readonly aheadRecords: number;
}

export class RunShares {
  readonly #parts: ShareComponents;
  readonly #full = new Set<Cursor>();
  readonly #nothing = new Share();
  #ended = false;

  constructor(parts: ShareComponents) {
    this.#parts = parts;
  }

  /** Records that may be taken of it, one at least: it was not full after the last ones. */
  most(cursor: Cursor): number {
    const { schedule, aheadRecords } = this.#parts;
    const near = Math.max(1, aheadRecords - aheadOf(cursor));
    if (this.#isAlone()) return near;
    const share = schedule.shareOf(cursor) ?? this.#nothing;
    return Math.min(near, Math.max(1, schedule.buffer.allowance(share)));
  }

  /** Something of it was taken. */
  taken(cursor: Cursor): void {
    const { schedule, aheadRecords } = this.#parts;
    const share = schedule.shareOf(cursor);
    if (this.#ended || cursor.full || share === undefined || share.records === 0) return;
    const isFar = aheadOf(cursor) >= aheadRecords;
    if (!isFar && (this.#isAlone() || schedule.buffer.allowance(share) > 0)) return;
    cursor.full = true;
    this.#full.add(cursor);
    this.#makeRoom();
  }

  /** Records have ended, or partitions went. */
  check(): void {
    if (this.#full.size === 0) return;
    const isRoomier = [...this.#full].filter((cursor) => this.#release(cursor)).length > 0;
    if (isRoomier) this.#parts.changed();
    else this.#makeRoom();
  }

  end(): void {
    this.#ended = true;
    for (const cursor of this.#full) cursor.full = false;
    this.#full.clear();
  }

  /** Answers whether it may be read on now. */
  #release(cursor: Cursor): boolean {
    const { schedule, aheadRecords } = this.#parts;
    const share = schedule.shareOf(cursor);
    const isNear = aheadOf(cursor) <= aheadRecords / 2;
    const fits = share === undefined || this.#isAlone() || schedule.buffer.fits(share);
    if (!cursor.revoked && !(isNear && fits)) return false;
    cursor.full = false;
    this.#full.delete(cursor);
    return !cursor.revoked;
  }

  /** Slots are free and what is here cannot take them: the fetched records of full partitions may be in the way of others. */
  #makeRoom(): void {
    const { schedule, makeRoom } = this.#parts;
    if (this.#full.size > 0 && schedule.idle) makeRoom(this.#full);
  }

  /** There is nobody to share with. */
  #isAlone(): boolean {
    let count = 0;
    for (const _ of this.#parts.cursors()) if (++count > 1) return false;
    return true;
  }
}

function aheadOf({ position, finished }: Cursor): number {
  return position - finished;
}
