/**
 * Who is to have which partition: sticky, balanced, and the same for the same input. Members may subscribe to different topics. Knows
 * nothing of epochs, holders or time: `group-machine.ts` gives it who has a partition so far, and acts on what it answers.
 *
 * Each partition stays where it is if that member still subscribes to its topic. Those without a member go to the one with the fewest.
 * Then, as long as a member has at least two more than another, and a way leads from the first to the second (a partition of the first
 * to somebody who may have it, one of that one's further on, and so forth), each member on the way passes one on. When no way is
 * left, the loads are as even as the subscriptions allow
 * (N. Harvey, R. Ladner, L. Lovász, T. Tamir: Semi-matchings for bipartite graphs and load balancing, theorem 3.1,
 * https://doi.org/10.1016/j.jalgor.2005.01.003); among equal subscriptions they differ by one at most. With
 * equal subscriptions each way is one step long, from whom has too many to whom has too few: nothing moves that need not.
 */

export interface Subscriber {
  readonly memberId: string;
  /** Sorted, each once. */
  readonly topics: readonly string[];
}

export interface AssignablePartition {
  readonly topic: string;
  readonly partition: number;
  /** Who has it so far: it stays there if it can. Undefined: nobody. */
  readonly owner: string | undefined;
  /** If it has to move from somebody, then rather one that does not read it yet. */
  readonly isTaken: boolean;
}

/** Steps of looking for long ways; beyond them only direct ones are taken, which is enough for members with equal subscriptions. */
const STEPS_MAX = 4_000_000;

/**
 * The member of each partition, in the order of `partitions`; undefined where nobody subscribes to its topic. `members` in an order
 * that does not change: of two with the same load, the earlier one gets more.
 */
export function assignPartitions(
  members: readonly Subscriber[],
  partitions: readonly AssignablePartition[],
): readonly (string | undefined)[] {
  const board = new Board(members, partitions);
  board.keep();
  board.fill();
  board.balance();
  return board.owners();
}

/** Topics whose subscribers are the same, and these. */
interface TopicClass {
  readonly members: readonly number[];
  readonly isMember: Uint8Array;
}

class Board {
  readonly #members: readonly Subscriber[];
  readonly #partitions: readonly AssignablePartition[];
  /** Of each partition; -1: nobody subscribes. */
  readonly #classOf: Int32Array;
  readonly #classes: readonly TopicClass[];
  /** Of each partition, the member that has it, or -1. */
  readonly #owner: Int32Array;
  readonly #load: Int32Array;
  /** For each member and class its partitions; what is moved most cheaply comes last. */
  readonly #stacks: readonly Map<number, number[]>[];
  readonly #way: Search;
  #steps = 0;

  constructor(members: readonly Subscriber[], partitions: readonly AssignablePartition[]) {
    this.#members = members;
    this.#partitions = partitions;
    const { classes, byTopic } = classesOf(members);
    this.#classes = classes;
    this.#classOf = Int32Array.from(partitions, (it) => byTopic.get(it.topic) ?? -1);
    this.#owner = new Int32Array(partitions.length).fill(-1);
    this.#load = new Int32Array(members.length);
    this.#stacks = members.map(() => new Map<number, number[]>());
    this.#way = {
      mark: 0,
      members: new Int32Array(members.length),
      classes: new Int32Array(classes.length),
      from: new Int32Array(members.length),
      through: new Int32Array(members.length),
    };
  }

  /** What is read comes first, so that it is moved last. */
  keep(): void {
    const index = new Map(this.#members.map((it, i) => [it.memberId, i]));
    for (const taken of [true, false]) {
      for (const [p, { owner, isTaken }] of this.#partitions.entries()) {
        if (isTaken !== taken || owner === undefined) continue;
        const member = index.get(owner);
        if (member === undefined) continue;
        if (this.#classAt(this.#classOf[p] ?? -1)?.isMember[member] === 1) this.#give(p, member);
      }
    }
  }

  /** Those that few may have come first. */
  fill(): void {
    const free: number[] = [];
    for (const [p, owner] of this.#owner.entries()) {
      if (owner < 0 && (this.#classOf[p] ?? -1) >= 0) free.push(p);
    }
    const choices = (p: number) => this.#classAt(this.#classOf[p] ?? -1)?.members.length ?? 0;
    free.sort((a, b) => choices(a) - choices(b) || a - b);
    for (const p of free) {
      const least = this.#leastLoaded(this.#classAt(this.#classOf[p] ?? -1)?.members ?? []);
      if (least >= 0) this.#give(p, least);
    }
  }

  balance(): void {
    const open = new Set(this.#members.keys());
    const all = [...open];
    while (open.size > 0) {
      const most = this.#mostLoaded(open);
      const least = this.#leastLoaded(all);
      if ((this.#load[most] ?? 0) <= (this.#load[least] ?? 0) + 1) return;
      const end = this.#wayFrom(most);
      // Whoever has no way now gets none later: those that come after it have no more than it has.
      if (end < 0) open.delete(most);
      else this.#pass(most, end);
    }
  }

  owners(): readonly (string | undefined)[] {
    return Array.from(this.#owner, (member) => this.#members[member]?.memberId);
  }

  #classAt(id: number): TopicClass | undefined {
    return this.#classes[id];
  }

  #give(partition: number, member: number): void {
    const id = this.#classOf[partition] ?? -1;
    const stacks = this.#stacks[member];
    const stack = stacks?.get(id);
    if (stack === undefined) stacks?.set(id, [partition]);
    else stack.push(partition);
    this.#owner[partition] = member;
    this.#load[member] = (this.#load[member] ?? 0) + 1;
  }

  #leastLoaded(members: Iterable<number>): number {
    let least = -1;
    for (const it of members) {
      if (least < 0 || (this.#load[it] ?? 0) < (this.#load[least] ?? 0)) least = it;
    }
    return least;
  }

  #mostLoaded(members: Iterable<number>): number {
    let most = -1;
    for (const it of members) {
      if (most < 0 || (this.#load[it] ?? 0) > (this.#load[most] ?? 0)) most = it;
    }
    return most;
  }

  /** The end of the shortest way to somebody who has at least two less, of several the one with the fewest; -1: there is none. */
  #wayFrom(start: number): number {
    const { members: seen, classes: seenClasses } = this.#way;
    const below = (this.#load[start] ?? 0) - 2;
    const mark = ++this.#way.mark;
    seen[start] = mark;
    let round = [start];
    while (round.length > 0) {
      const next: number[] = [];
      for (const member of round) {
        for (const [classId, stack] of this.#stacks[member] ?? []) {
          if (stack.length === 0 || seenClasses[classId] === mark) continue;
          seenClasses[classId] = mark;
          for (const it of this.#classAt(classId)?.members ?? []) {
            this.#steps++;
            if (seen[it] === mark) continue;
            seen[it] = mark;
            this.#way.from[it] = member;
            this.#way.through[it] = classId;
            next.push(it);
          }
        }
      }
      const end = this.#leastLoaded(next);
      if (end >= 0 && (this.#load[end] ?? 0) <= below) return end;
      round = this.#steps < STEPS_MAX ? next : [];
    }
    return -1;
  }

  /** Each on the way found last passes one on. */
  #pass(start: number, end: number): void {
    const { from, through } = this.#way;
    for (let to = end; to !== start; ) {
      const giver = from[to] ?? start;
      const partition = this.#stacks[giver]?.get(through[to] ?? -1)?.pop();
      if (partition === undefined) return;
      this.#load[giver] = (this.#load[giver] ?? 0) - 1;
      this.#give(partition, to);
      to = giver;
    }
  }
}

/** The last search: for whom was seen in it (`mark`), who passes one on to it, and of which class. */
interface Search {
  mark: number;
  readonly members: Int32Array;
  readonly classes: Int32Array;
  readonly from: Int32Array;
  readonly through: Int32Array;
}

/** Members with equal subscriptions are found first: they are few kinds, however many members and topics there are. */
function classesOf(members: readonly Subscriber[]): {
  readonly classes: readonly TopicClass[];
  readonly byTopic: ReadonlyMap<string, number>;
} {
  const kinds = new Map<
    string,
    { readonly topics: readonly string[]; readonly members: number[] }
  >();
  for (const [i, { topics }] of members.entries()) {
    const key = JSON.stringify(topics);
    const kind = kinds.get(key);
    if (kind === undefined) kinds.set(key, { topics, members: [i] });
    else kind.members.push(i);
  }
  const kindsOfTopic = new Map<string, number[]>();
  const all = [...kinds.values()];
  for (const [k, { topics }] of all.entries()) {
    for (const topic of topics) {
      const known = kindsOfTopic.get(topic);
      if (known === undefined) kindsOfTopic.set(topic, [k]);
      else known.push(k);
    }
  }
  const ids = new Map<string, number>();
  const classes: TopicClass[] = [];
  const byTopic = new Map<string, number>();
  for (const [topic, its] of kindsOfTopic) {
    const key = its.join();
    let id = ids.get(key);
    if (id === undefined) {
      id = classes.length;
      ids.set(key, id);
      const eligible = its.flatMap((k) => all[k]?.members ?? []).sort((a, b) => a - b);
      const isMember = new Uint8Array(members.length);
      for (const it of eligible) isMember[it] = 1;
      classes.push({ members: eligible, isMember });
    }
    byTopic.set(topic, id);
  }
  return { classes, byTopic };
}
