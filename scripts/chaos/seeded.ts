/** Random numbers from a seed, the same on every machine and runtime. Used by the schedule, the proxies and the client programs. */

export interface Seeded {
  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number;
  /** True with this probability. */
  chance(probability: number): boolean;
  pick<T>(options: readonly T[]): T;
  /** The same things in another order. */
  shuffled<T>(things: readonly T[]): T[];
  /** Random numbers of its own, which do not depend on how many were drawn from this one. */
  fork(name: string): Seeded;
}

/** Mulberry32 over a hash of seed and name. */
export function createSeeded(seed: number, name = ""): Seeded {
  let state = hash(`${seed}/${name}`);
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  const between = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  return {
    between,
    chance: (probability) => next() < probability,
    pick: (options) => {
      if (options.length === 0) throw new Error("there is nothing to pick from");
      return options[between(0, options.length - 1)] as (typeof options)[number];
    },
    shuffled: (things) => {
      const left = [...things];
      const order: typeof left = [];
      while (left.length > 0) order.push(...left.splice(between(0, left.length - 1), 1));
      return order;
    },
    fork: (fork) => createSeeded(seed, `${name}/${fork}`),
  };
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  }
  return h | 0;
}
