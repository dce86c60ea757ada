/**
 * What lag must be, by the test's own tally: what was acknowledged at which offset and when, what was committed and when, who is in
 * which group. The tally keeps its whole history, so that every scrape can be compared with a state that was in force when
 * its values were taken: each cut must equal one state in all of its series.
 */
import assert from "node:assert/strict";
import type { Scrape } from "./lag-world.ts";
import { type Sample, samplesOf } from "./metrics-text.ts";

/** Something happened between these moments, ms since 1970. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

interface Append extends Span {
  /** Offset after its last record. */
  readonly end: number;
}

export interface Log {
  next: number;
  logStart: number;
  readonly appends: Append[];
}

interface TopicState {
  readonly id: number;
  readonly logs: Log[];
}

interface Commit extends Span {
  readonly offset: number;
}

interface GroupState {
  /** By topic id and partition. */
  readonly commits: Map<string, Commit>;
  members: number;
}

/** The consumer that has a group's partitions, and where it began in each. */
interface OwnerState {
  readonly id: number;
  readonly begins: Map<string, number>;
}

export interface State {
  readonly topics: Map<string, TopicState>;
  readonly groups: Map<string, GroupState>;
  readonly owners: Map<string, OwnerState>;
}

interface Moment extends Span {
  readonly what: string;
  readonly state: State;
}

/** One partition of one group, as it must be shown. */
interface Expected {
  readonly records: number;
  readonly lost: number;
  readonly lead: number;
  readonly committed: Commit | undefined;
  readonly appended: Append | undefined;
}

const GROUP = {
  records: "streamhouse_group_lag_records",
  seconds: "streamhouse_group_lag_seconds",
  lost: "streamhouse_group_lost_records",
  lead: "streamhouse_group_lead_records",
  commit: "streamhouse_group_last_commit_timestamp_seconds",
  members: "streamhouse_group_members",
} as const;

const CONSUMER = {
  records: "streamhouse_consumer_lag_records",
  seconds: "streamhouse_consumer_lag_seconds",
  committed: "streamhouse_last_committed_offset",
} as const;

const AGE = "streamhouse_lag_age_seconds";

/** METRICS rule 1. */
const LAG_AGE_S_MAX = 5;

/** Sums of seconds in binary fractions. */
const ROUNDING = 1e-9;

export class LagOracle {
  /** Comparisons of single series: a test that compares nothing proves nothing. */
  compared = 0;
  readonly #history: Moment[] = [];
  readonly #now: () => number;
  readonly #toleranceMs: number;
  #ids = 0;

  constructor(now: () => number, toleranceMs: number) {
    this.#now = now;
    this.#toleranceMs = toleranceMs;
    const state: State = { topics: new Map(), groups: new Map(), owners: new Map() };
    this.#history.push({ what: "nothing", fromMs: 0, toMs: now(), state });
  }

  get state(): State {
    return (this.#history.at(-1) as Moment).state;
  }

  /** The last things that happened, for whoever has to find out why a comparison failed. */
  get story(): string {
    return this.#history
      .slice(-12)
      .map(({ fromMs, toMs, what }) => `${fromMs}-${toMs} ${what}`)
      .join("\n");
  }

  newId(): number {
    return ++this.#ids;
  }

  /** Does something and writes down what it changed. */
  async does<T>(
    what: string,
    work: () => Promise<T>,
    change: (state: State, span: Span, result: T) => void,
  ): Promise<T> {
    const fromMs = this.#now();
    const result = await work();
    const span = { fromMs, toMs: this.#now() };
    const state = structuredClone(this.state);
    change(state, span, result);
    this.#history.push({ what, ...span, state });
    return result;
  }

  /**
   * Compares every series of lag. Answers whether all of it was taken after the last change: then there was one state only that it
   * could be compared with.
   */
  check(scrape: Scrape): boolean {
    const ages = samplesOf(scrape.samples, AGE);
    const agent = ages.find((it) => it.labels.group_id === undefined);
    assert.ok(agent, "the agent says how old its lag is");
    let settled = this.#checkCut(scrape, agent, (state, now) =>
      this.#groupProblems(scrape, state, now),
    );
    for (const [group, owner] of this.state.owners) {
      const age = ages.find((it) => it.labels.group_id === group);
      if (age === undefined) settled &&= owner.begins.size === 0;
      else {
        const fresh = this.#checkCut(scrape, age, (state, now) =>
          this.#consumerProblems(scrape, group, state, now),
        );
        settled &&= fresh;
      }
    }
    for (const { labels } of samplesOf(scrape.samples, CONSUMER.records)) {
      const owned = this.#during(scrape.fromMs, scrape.toMs).some((it) =>
        it.state.owners.has(labels.group_id ?? ""),
      );
      assert.ok(owned, `nobody owns ${JSON.stringify(labels)}`);
    }
    return settled;
  }

  /** States that may have been in force at some time between. */
  #during(fromMs: number, toMs: number): readonly Moment[] {
    const first = fromMs - this.#toleranceMs;
    const last = toMs + this.#toleranceMs;
    return this.#history.filter((it, i) => {
      const next = this.#history[i + 1];
      return it.fromMs <= last && (next === undefined || next.toMs >= first);
    });
  }

  #checkCut(
    scrape: Scrape,
    age: Sample,
    problems: (state: State, now: State) => readonly string[],
  ): boolean {
    assert.ok(age.value >= 0, `an age of ${age.value}`);
    // On a real clock a busy machine may run a timer late.
    if (this.#toleranceMs === 0) assert.ok(age.value <= LAG_AGE_S_MAX, `an age of ${age.value}`);
    const takenFrom = scrape.fromMs - age.value * 1_000;
    const states = this.#during(takenFrom, scrape.toMs);
    let fewest: readonly string[] | undefined;
    for (const { state } of states) {
      for (const now of this.#during(scrape.fromMs, scrape.toMs)) {
        const found = problems(state, now.state);
        if (found.length === 0) return states[0] === this.#history.at(-1);
        if (fewest === undefined || found.length < fewest.length) fewest = found;
      }
    }
    throw new assert.AssertionError({
      message: `lag is wrong, ${states.length} states could be in force:\n${fewest?.join("\n")}`,
    });
  }

  #groupProblems(scrape: Scrape, state: State, now: State): readonly string[] {
    const problems: string[] = [];
    const wanted = new Map<string, Expected>();
    for (const [group, { commits }] of state.groups) {
      for (const [at, log, key] of partitionsOf(state, now)) {
        const committed = commits.get(key);
        if (committed !== undefined) wanted.set(`${at}/${group}`, expect(log, committed));
      }
    }
    const shown = byLabels(scrape.samples, Object.values(GROUP));
    for (const key of new Set([...wanted.keys(), ...Object.keys(shown[GROUP.records] ?? {})])) {
      const expected = wanted.get(key);
      const value = (family: string) => shown[family]?.[key];
      if (expected === undefined) problems.push(`${key} is shown`);
      else problems.push(...this.#problemsOf(scrape, key, expected, value, GROUP, 0));
    }
    problems.push(...this.#memberProblems(state, now, shown[GROUP.members] ?? {}));
    return problems;
  }

  #memberProblems(
    state: State,
    now: State,
    shown: Readonly<Record<string, number>>,
  ): readonly string[] {
    // Whose first partition was deleted since has nobody to tell of it until the next refresh.
    if ([...state.topics].some(([name, it]) => now.topics.get(name)?.id !== it.id)) return [];
    const problems: string[] = [];
    for (const [group, { commits, members }] of state.groups) {
      const known = members > 0 || commits.size > 0;
      this.compared++;
      if (shown[group] !== (known ? members : undefined)) {
        problems.push(`${group} has ${members} members, shown are ${shown[group]}`);
      }
    }
    return problems;
  }

  #consumerProblems(scrape: Scrape, group: string, state: State, now: State): readonly string[] {
    const owner = state.owners.get(group);
    const owns = now.owners.get(group);
    const commits = state.groups.get(group)?.commits;
    const wanted = new Map<string, Expected>();
    for (const [at, log, key] of partitionsOf(state, now)) {
      const begin = owner?.id === owns?.id ? owner?.begins.get(key) : undefined;
      if (begin === undefined || !owns?.begins.has(key)) continue;
      wanted.set(`${at}/${group}`, expect(log, commits?.get(key), begin));
    }
    const shown = byLabels(scrape.samples, Object.values(CONSUMER));
    const keys = Object.keys(shown[CONSUMER.records] ?? {}).filter((it) =>
      it.endsWith(`/${group}`),
    );
    const problems: string[] = [];
    const age = scrape.toMs - scrape.fromMs + 1_000 * this.#ageOf(scrape, group);
    for (const key of new Set([...wanted.keys(), ...keys])) {
      const expected = wanted.get(key);
      const value = (family: string) => shown[family]?.[key];
      if (expected === undefined) problems.push(`${key} is shown to its consumer`);
      else problems.push(...this.#problemsOf(scrape, key, expected, value, CONSUMER, age));
    }
    // Not part of the cut: the consumer knows of its own commits at once.
    const latest = now.groups.get(group)?.commits;
    for (const [at, , key] of partitionsOf(now, now)) {
      if (!wanted.has(`${at}/${group}`)) continue;
      const is = shown[CONSUMER.committed]?.[`${at}/${group}`];
      const offset = latest?.get(key)?.offset;
      this.compared++;
      if (is !== offset) problems.push(`${group} has committed ${offset} in ${at}, shown is ${is}`);
    }
    return problems;
  }

  #ageOf({ samples }: Scrape, group: string): number {
    return samplesOf(samples, AGE, { group_id: group })[0]?.value ?? 0;
  }

  /** `lateMs`: an age may have been told so much earlier than it counts from. */
  #problemsOf(
    scrape: Scrape,
    key: string,
    expected: Expected,
    value: (family: string) => number | undefined,
    names: typeof GROUP | typeof CONSUMER,
    lateMs: number,
  ): readonly string[] {
    const problems: string[] = [];
    const equal = (family: string, wanted: number | undefined) => {
      this.compared++;
      if (value(family) !== wanted)
        problems.push(`${family} ${key}: ${value(family)}, not ${wanted}`);
    };
    const between = (family: string, from: number, to: number) => {
      this.compared++;
      const is = value(family) ?? Number.NaN;
      const ok = is >= from - ROUNDING && is <= to + ROUNDING;
      if (!ok) problems.push(`${family} ${key}: ${is}, not ${from} to ${to}`);
    };
    equal(names.records, expected.records);
    if (expected.appended === undefined) equal(names.seconds, 0);
    else {
      const { fromMs, toMs } = expected.appended;
      const least = scrape.fromMs - toMs - this.#toleranceMs;
      const most = scrape.toMs - fromMs + lateMs + this.#toleranceMs;
      between(names.seconds, Math.max(0.001, least / 1_000), Math.max(0.001, most / 1_000));
    }
    if (!("lost" in names)) return problems;
    equal(names.lost, expected.lost);
    equal(names.lead, expected.lead);
    const { fromMs = 0, toMs = 0 } = expected.committed ?? {};
    between(names.commit, fromMs / 1_000, toMs / 1_000);
    return problems;
  }
}

/** The oracle itself: nothing but subtraction. */
function expect(log: Log, committed: Commit | undefined, begin = 0): Expected {
  const start = committed?.offset ?? begin;
  const from = start < log.logStart ? log.logStart : start;
  const records = log.next > from ? log.next - from : 0;
  return {
    records,
    lost: start < log.logStart ? log.logStart - start : 0,
    lead: start > log.logStart ? start - log.logStart : 0,
    committed,
    appended: records === 0 ? undefined : log.appends.find((it) => it.end > from),
  };
}

/** Partitions of topics that were there then and still are now. */
function* partitionsOf(
  state: State,
  now: State,
): Generator<readonly [at: string, log: Log, key: string], void, void> {
  for (const [topic, { id, logs }] of state.topics) {
    if (now.topics.get(topic)?.id !== id) continue;
    for (const [partition, log] of logs.entries()) {
      yield [`${topic}/${partition}`, log, `${id}/${partition}`];
    }
  }
}

/** Values by family and `topic/partition/group`. */
function byLabels(
  samples: readonly Sample[],
  families: readonly string[],
): Readonly<Record<string, Readonly<Record<string, number>>>> {
  const found: Record<string, Record<string, number>> = {};
  for (const { name, labels, value } of samples) {
    if (!families.includes(name)) continue;
    const { topic, partition, group_id } = labels;
    const key = [topic, partition, group_id].filter((it) => it !== undefined).join("/");
    const values = found[name] ?? {};
    assert.equal(values[key], undefined, `${name} has ${key} twice`);
    values[key] = value;
    found[name] = values;
  }
  return found;
}
