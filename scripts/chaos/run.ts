/** One chaos run, from the start of the servers to the verdict. Called by `scripts/chaos.ts`. */
import { checkRun, type RunEvidence } from "./checker.ts";
import { createSay, describe } from "./console.ts";
import { EvidenceFolder } from "./evidence.ts";
import type { FaultKind } from "./fault-kinds.ts";
import { Injector } from "./injector.ts";
import { installServers } from "./install.ts";
import { readLog } from "./log-reader.ts";
import { MemberClient, sharedGroups } from "./members.ts";
import { joined } from "./regrouping.ts";
import { createSchedule } from "./schedule.ts";
import type { ChaosSettings } from "./settings.ts";
import { until } from "./waiting.ts";
import { topic, World } from "./world.ts";

/** The last line of standard output. */
export interface ChaosResult {
  readonly ok: boolean;
  readonly seed: number;
  readonly acknowledged: number;
  readonly consumed: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly fencedWritesAccepted: number;
  readonly doubleOwned: number;
  readonly unprocessed: number;
  /** How many of each kind were injected. */
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
}

/** Never rejects. */
export async function runChaos(
  settings: ChaosSettings,
  interrupted: AbortSignal,
): Promise<ChaosResult> {
  const folder = new EvidenceFolder(settings.seed);
  const say = createSay((line) => folder.line(line));
  const world = new World({ settings, folder: folder.path, say, signal: interrupted });
  const injector = new Injector(world);
  let result: ChaosResult = nothing(settings.seed, injector);
  try {
    await installServers(say);
    result = await play(world, injector, folder);
  } catch (error) {
    say(`the run failed: ${describe(error)}`);
  } finally {
    say("ending every process");
    await world.close();
  }
  if (result.ok) folder.remove();
  else say(`the evidence is in ${folder.path}`);
  return result;
}

/** Of a run that did not come to its verdict. */
function nothing(seed: number, { counts }: Injector): ChaosResult {
  const none = { acknowledged: 0, consumed: 0, lost: 0, duplicated: 0, reordered: 0 };
  const groups = { doubleOwned: 0, unprocessed: 0 };
  return { ok: false, seed, ...none, fencedWritesAccepted: 0, ...groups, faults: counts };
}

async function play(
  world: World,
  injector: Injector,
  folder: EvidenceFolder,
): Promise<ChaosResult> {
  const { say, settings } = world.options;
  const faults = createSchedule(settings);
  folder.json("schedule.json", { settings, faults });
  await world.build();

  // Each fault of the short profile is injected, however long that takes.
  const short = settings.profile === "short";
  await injector.run(faults, short ? Number.POSITIVE_INFINITY : settings.durationMs);
  const evidence = await drain(world, injector);
  await checkAudits(world);
  checkPatience(world);
  const { deleted, merged, swept } = await world.witness.upkeep();
  say(
    `${merged} segments were merged, ${deleted} objects deleted after it, ${swept} given up as orphans`,
  );
  const { findings, ok, unknown, ...counts } = checkRun(evidence);
  for (const text of [...world.problems, ...findings]) say(`WRONG: ${text}`);
  say(
    `${unknown.there} sends of unknown outcome are in the log, ${unknown.absent} are not; ` +
      `agents refused ${injector.overtaking.fencedWritesSeen} batches after they were overtaken, ` +
      `and ${injector.regrouping.staleRefused} calls of stale members`,
  );
  const given = evidence.shared.holds.filter((it) => it.memberId !== "").length;
  say(`partitions were given to members ${given} times`);
  const allOk = ok && world.problems.length === 0;
  if (!allOk) folder.keep(evidence);
  const { acknowledged, consumed, lost, duplicated, reordered, fencedWritesAccepted } = counts;
  const { doubleOwned, unprocessed } = counts;
  return {
    ...{ ok: allOk, seed: settings.seed, acknowledged, consumed, lost, duplicated, reordered },
    ...{ fencedWritesAccepted, doubleOwned, unprocessed, faults: injector.counts },
  };
}

/** Everything heals, every producer settles what it sent, every consumer reads to the end, and the log is read through each agent. */
async function drain(world: World, injector: Injector): Promise<RunEvidence> {
  const { agents, witness } = world;
  const senders = [...world.producers, ...world.newcomers];
  const readers = [...world.consumers, ...world.rereaders];
  const { say, signal } = world.options;
  say("no more faults: every agent has to serve, every producer to settle what it sent");
  await Promise.all(agents.map((it) => it.start(signal)));
  await Promise.all(senders.map((it) => orTrouble(world, it, it.finish(signal))));
  const { partitions } = await witness.holdings(topic, signal);
  const ends = partitions.map((it) => it.end);
  say("consumers read to the end");
  await Promise.all(readers.map((it) => orTrouble(world, it, it.finish(ends, signal))));
  say("shared groups process everything");
  await processAll(world, ends);
  const members = world.members.filter((it) => it.running);
  await Promise.all(members.map((it) => orTrouble(world, it, finish(world, it))));
  say("reading the log through each agent");
  const topicId = partitions[0]?.topicId ?? "";
  const logs: RunEvidence["logs"][number][] = [];
  for (const { address, name } of agents) {
    logs.push(await readLog(ends, topicId, { name, address, signal }));
  }
  return {
    senders: senders.flatMap((it) => it.journals()),
    logs,
    groups: readers.map((it) => it.read()),
    commits: await witness.commits(topicId),
    overtaken: injector.overtaking.overtaken,
    shared: {
      groups: Object.values(sharedGroups).map((it) => MemberClient.record(it, world.members)),
      holds: await witness.holds(topicId),
      // The group that books goes where its database says, also back.
      backwards: await witness.backwards(sharedGroups.journaling),
      staleAccepted: injector.regrouping.staleAccepted,
      booked: await world.sink.booked(),
    },
  };
}

async function finish(world: World, member: MemberClient): Promise<void> {
  await joined(world, member);
  await member.finish(world.options.signal);
}

/** What a group does not get to within any patience is for the judge to count. */
async function processAll(world: World, ends: readonly number[]): Promise<void> {
  const { signal } = world.options;
  const isThere = (now: ReadonlyMap<number, number>) =>
    ends.every((end, partition) => (now.get(partition) ?? 0) >= end);
  const { booking, journaling } = sharedGroups;
  const goals: Readonly<Record<string, () => Promise<ReadonlyMap<number, number>>>> = {
    [journaling]: () => world.witness.committed(journaling, signal),
    [booking]: () => world.sink.positions(),
  };
  for (const [group, look] of Object.entries(goals)) {
    const done = until(`${group} to process everything`, async () => isThere(await look()), {
      signal,
    });
    await done.catch((error: unknown) => {
      signal.throwIfAborted();
      world.trouble(describe(error));
    });
  }
}

/** A program that does not end is a finding; what it had journaled is judged all the same. */
async function orTrouble(
  world: World,
  client: { kill(): Promise<void> },
  finished: Promise<void>,
): Promise<void> {
  try {
    await finished;
  } catch (error) {
    world.options.signal.throwIfAborted();
    world.trouble(describe(error));
    await client.kill();
  }
}

/** A send that has longer than any fault lasts ends well. A record that it cannot know of is not lost, but this is what it is sent again for. */
function checkPatience(world: World): void {
  for (const client of [...world.producers, ...world.newcomers]) {
    if (!client.patient) continue;
    for (const { attempts, sender } of client.journals()) {
      const failed = [...attempts.values()].filter(
        ({ state }) => state === "none" || state === "unknown",
      );
      if (failed.length > 0) world.trouble(`${failed.length} sends of ${sender} failed`);
    }
  }
}

/** The agents' own conservation laws hold after all of it. */
async function checkAudits(world: World): Promise<void> {
  const name = "streamhouse_audit_discrepancy";
  for (const agent of world.agents) {
    const found = await until(`${agent.name} to answer`, () =>
      agent.metric(name).catch(() => undefined),
    );
    if (found !== 0) world.trouble(`${name} of ${agent.name} is ${found}`);
  }
}
