/**
 * How much a run holds: records that have not ended, and the memory that they keep, in all and of each partition. Says when to stop
 * taking, and which partition has more than its share. Numbers only. Called by `run-schedule.ts`.
 */
import type { Parcel } from "./run-task.ts";

export interface BufferLimits {
  readonly records: number;
  readonly bytes: number;
}

/** Reading goes on when this part of the limit is free again, so that it is not woken for every record. */
const FREE_AGAIN = 1 / 8;

/**
 * Memory by the buffers that hold it: a record is a view, and keeps the whole batch (or the whole answer that brought it) for as long as
 * it lives. Each buffer counts once, until the last record in it has ended.
 */
class Backing {
  readonly #held = new Map<ArrayBufferLike, number>();
  bytes = 0;

  add(buffer: ArrayBufferLike): void {
    const held = this.#held.get(buffer) ?? 0;
    if (held === 0) this.bytes += buffer.byteLength;
    this.#held.set(buffer, held + 1);
  }

  release(buffer: ArrayBufferLike): void {
    const left = (this.#held.get(buffer) ?? 0) - 1;
    if (left > 0) this.#held.set(buffer, left);
    else if (this.#held.delete(buffer)) this.bytes -= buffer.byteLength;
  }
}

/** What one partition has of the buffer. */
export class Share {
  records = 0;
  readonly backing: Backing = new Backing();
}

export class RunBuffer {
  readonly #limits: BufferLimits;
  readonly #backing = new Backing();
  #records = 0;
  #full = false;

  constructor(limits: BufferLimits) {
    this.#limits = limits;
  }

  /** Records that have not ended. */
  get records(): number {
    return this.#records;
  }

  /** What they keep in memory. */
  get bytes(): number {
    return this.#backing.bytes;
  }

  /** How many records may be taken now. Without any in it there is room for one at least, however large its batch. */
  get room(): number {
    if (this.#records === 0) return this.#limits.records;
    const free = this.#limits.records - this.#records;
    const isFull = free <= 0 || this.bytes >= this.#limits.bytes;
    if (isFull) this.#full = true;
    else if (this.#full) {
      const { records, bytes } = this.#limits;
      const again = free >= records * FREE_AGAIN && bytes - this.bytes >= bytes * FREE_AGAIN;
      if (again) this.#full = false;
    }
    return this.#full ? 0 : free;
  }

  add(share: Share, parcel: Parcel): void {
    this.#records += parcel.left;
    share.records += parcel.left;
    if (parcel.backing === undefined) return;
    this.#backing.add(parcel.backing);
    share.backing.add(parcel.backing);
  }

  /** A record has ended. */
  release(share: Share, parcel: Parcel): void {
    this.#records--;
    share.records--;
    parcel.left--;
    if (parcel.left > 0 || parcel.backing === undefined) return;
    this.#backing.release(parcel.backing);
    share.backing.release(parcel.backing);
  }

  /**
   * How many records a partition may take: it never has more than what is left for all others. So one partition that does not get on
   * takes half, two a third each, and there is always room for one that does (the dynamic thresholds of shared-memory switches,
   * https://doi.org/10.1109/90.664262).
   */
  allowance(share: Share): number {
    const free = this.#limits.records - this.#records;
    const isHeavy = share.backing.bytes > 0 && share.backing.bytes >= this.#freeBytes;
    return isHeavy ? 0 : Math.max(0, Math.ceil((free - share.records) / 2));
  }

  /** Well below that again. */
  fits(share: Share): boolean {
    const free = this.#limits.records - this.#records;
    if (share.records === 0) return true;
    return share.records <= free / 2 && share.backing.bytes <= this.#freeBytes / 2;
  }

  get #freeBytes(): number {
    return this.#limits.bytes - this.bytes;
  }
}
