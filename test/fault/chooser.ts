/** Choices that repeat with a seed: what every simulation decides by. Nothing else in one may be left to chance. */
import { seededRandom } from "../unit/agent/bench-agent.ts";

export class Chooser {
  readonly #next: () => number;

  constructor(seed: number) {
    const random = seededRandom(seed);
    const four = new Uint8Array(4);
    this.#next = () => new DataView(random(four).buffer).getUint32(0);
  }

  /** A whole number from 0 to below `n`. */
  below(n: number): number {
    return this.#next() % n;
  }

  pick<T>(options: readonly T[]): T {
    return options[this.below(options.length)] as T;
  }

  /** One of those that the test accepts; undefined if there is none. */
  anyone<T>(all: Iterable<T>, which: (one: T) => boolean = () => true): T | undefined {
    const those = [...all].filter(which);
    return those.length === 0 ? undefined : this.pick(those);
  }
}
