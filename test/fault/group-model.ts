/**
 * What must hold of a consumer group whatever happens to its members and agents, looked at from two sides: what applications were handed
 * out, and what metadata was told. It decides by itself who may have a partition. Used by the simulation of groups.
 */
import assert from "node:assert/strict";
import type { HeartbeatInput, MetadataStore } from "../../src/metadata/metadata-store.ts";
import type { FetchRequest } from "../../src/rpc/gen/streamhouse/v1/consumer.ts";

/** A fetch that took no longer was not looked at again before it was answered, ms. */
const LOOKED_AT_MS = 100;

/** A process that the model looks at. */
export interface Looked {
  readonly name: string;
  /** Its own view counts: it is neither dead nor stopped, nor about to end. */
  readonly isRunning: boolean;
}

interface Stay {
  readonly who: Looked;
  /** When it began, in the order of all that happened. */
  readonly since: number;
  next: number | undefined;
}

/** Who owns a partition by metadata's answers. */
interface Owner {
  readonly memberId: string;
  /** When it became that, ms. */
  readonly at: number;
}

export class GroupModel {
  readonly #now: () => number;
  /** Broken promises, as many as were found. */
  readonly broken: string[] = [];
  /** Records whose handler ended, by `partition@offset`. */
  readonly processed: Set<string> = new Set();
  handedOut: number = 0;
  repeated: number = 0;
  refusedCommits: number = 0;
  refusedFetches: number = 0;
  #order = 0;
  /** By partition and by name of the consumer. */
  readonly #stays = new Map<number, Map<string, Stay>>();
  readonly #lastHandOut = new Map<number, { readonly name: string; readonly order: number }>();
  readonly #given = new Set<string>();
  readonly #owners = new Map<string, Owner>();
  readonly #committed = new Map<string, number>();
  /** A commit below the last one is fine now: somebody asked for it. */
  mayGoBack: boolean = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  fail(what: string): void {
    this.broken.push(`${Math.round(this.#now())} ms: ${what}`);
  }

  assigned(who: Looked, partitions: readonly number[]): void {
    for (const partition of partitions) {
      const stay = { who, since: ++this.#order, next: undefined };
      this.#staysOf(partition).set(who.name, stay);
    }
  }

  revoked(name: string, partitions: readonly number[]): void {
    for (const partition of partitions) this.#staysOf(partition).delete(name);
  }

  /** The application of `name` was given a record. */
  handOut(name: string, partition: number, offset: number): void {
    this.handedOut++;
    const key = `${partition}@${offset}`;
    if (this.#given.has(key)) this.repeated++;
    this.#given.add(key);
    const stay = this.#staysOf(partition).get(name);
    const last = this.#lastHandOut.get(partition);
    this.#lastHandOut.set(partition, { name, order: ++this.#order });
    for (const { who } of this.#staysOf(partition).values()) {
      if (who.name !== name && who.isRunning) {
        this.fail(`${name} was given ${key} while ${who.name} has not let go of it: doubly owned`);
      }
    }
    if (stay === undefined) {
      this.fail(`${name} was given ${key}, which it was not assigned`);
      return;
    }
    if (last !== undefined && last.name !== name && last.order > stay.since) {
      this.fail(`${name} was given ${key} while ${last.name} had it: doubly owned`);
    }
    if (stay.next !== undefined && stay.next !== offset) {
      this.fail(`${name} was given ${key} after ${stay.next - 1}: not in order`);
    }
    stay.next = offset + 1;
  }

  /** Looks at what metadata is asked and answers. */
  watched(inner: MetadataStore): MetadataStore {
    return new Proxy(inner, {
      get: (target, name) => {
        const member = Reflect.get(target, name, target) as unknown;
        if (name === "heartbeat") {
          return async (input: HeartbeatInput) => {
            const answer = await target.heartbeat(input);
            const { memberId } = input;
            for (const { topicId, partition } of answer.assigned) {
              const key = `${topicId}/${partition}`;
              if (this.#owners.get(key)?.memberId === memberId) continue;
              this.#owners.set(key, { memberId, at: this.#now() });
            }
            return answer;
          };
        }
        if (name !== "commitOffsets") return member;
        return async (...args: Parameters<MetadataStore["commitOffsets"]>) => {
          await this.#commit(target, args);
        };
      },
    });
  }

  async #commit(
    target: MetadataStore,
    args: Parameters<MetadataStore["commitOffsets"]>,
  ): Promise<void> {
    const [group, { memberId }, offsets] = args;
    try {
      await target.commitOffsets(...args);
    } catch (error) {
      this.refusedCommits++;
      throw error;
    }
    for (const { topicId, partition } of offsets) {
      const owner = this.#owners.get(`${topicId}/${partition}`);
      if (memberId === "" || owner?.memberId === memberId) continue;
      this.fail(
        `a commit of ${memberId} for ${partition} was accepted: it is ${owner?.memberId}'s`,
      );
    }
    for (const { topicId, partition, offset } of await target.fetchOffsets(group)) {
      const key = `${topicId}/${partition}`;
      const before = this.#committed.get(key) ?? 0;
      if (offset < before && !this.mayGoBack) {
        this.fail(`the committed offset of ${partition} went back from ${before} to ${offset}`);
      }
      this.#committed.set(key, offset);
    }
  }

  /** A fetch of a member was answered with records, or with none. */
  fetched({ group, memberId, partitions }: FetchRequest): void {
    if (group === "") return;
    for (const { topicId, partition } of partitions) {
      const owner = this.#owners.get(`${topicId}/${partition}`);
      if (owner === undefined || owner.memberId === memberId) continue;
      if (owner.at >= this.#now() - LOOKED_AT_MS) continue;
      this.fail(
        `a fetch of ${memberId} for ${partition} was answered: it is ${owner.memberId}'s since ${Math.round(owner.at)}`,
      );
    }
  }

  sound(): void {
    assert.deepEqual(this.broken, [], "what must hold of a group");
  }

  #staysOf(partition: number): Map<string, Stay> {
    let stays = this.#stays.get(partition);
    if (stays === undefined) {
      stays = new Map();
      this.#stays.set(partition, stays);
    }
    return stays;
  }
}
