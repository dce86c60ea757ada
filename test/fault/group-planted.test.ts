/** Defects that would break a promise of groups, planted from outside: the simulation's checks find each of them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { GroupMembers, type KnownMember } from "../../src/agent/group-members.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createTopic } from "../unit/agent/bench-agent.ts";
import { Fleet } from "./fleet.ts";
import { GroupMemberProcess } from "./group-member.ts";
import { GroupModel } from "./group-model.ts";
import { GroupSimulation, type Planted } from "./group-simulation.ts";

/** Seeds to try before a defect counts as not found. */
const SEEDS = 12;

async function findingOf(planted: Planted, wanted: RegExp, first: number): Promise<string> {
  for (let seed = first; seed < first + SEEDS; seed++) {
    try {
      await new GroupSimulation(seed, planted).run();
    } catch (error) {
      const found = String(error);
      if (wanted.test(found)) return found;
    }
  }
  return assert.fail(`the defect was not found with ${SEEDS} seeds from ${first}`);
}

/** Whoever is refused a commit gets it stored all the same, as if the member's epoch were not looked at. */
function withoutEpochs(metadata: MetadataStore): MetadataStore {
  const commitOffsets: MetadataStore["commitOffsets"] = async (group, member, offsets, options) => {
    try {
      await metadata.commitOffsets(group, member, offsets, options);
    } catch (error) {
      if (!StreamHouseError.is(error) || error.kind !== "fenced") throw error;
      const state = await metadata.describeGroup(group);
      for (const offset of offsets) {
        const holder = state?.members.find((it) =>
          it.assigned.some((p) => p.partition === offset.partition),
        );
        if (holder !== undefined) await metadata.commitOffsets(group, holder, [offset], options);
      }
    }
  };
  return new Proxy(metadata, {
    get: (target, name) =>
      name === "commitOffsets" ? commitOffsets : (Reflect.get(target, name, target) as unknown),
  });
}

/** Until `restore` is called agents believe for ever what they have heard of a member once. */
function agentsThatNeverForget(): () => void {
  const { ask, remembered } = GroupMembers.prototype;
  const known = new Map<string, KnownMember>();
  GroupMembers.prototype.ask = async function (group, memberId) {
    const member = await ask.call(this, group, memberId);
    if (member !== undefined) known.set(memberId, member);
    return member;
  };
  GroupMembers.prototype.remembered = (_group, memberId) => known.get(memberId);
  return () => {
    GroupMembers.prototype.ask = ask;
    GroupMembers.prototype.remembered = remembered;
  };
}

describe("a defect planted into a group is found by the simulation", () => {
  it("a member whose clock stands still while it is stopped hands on what is another's", async () => {
    await findingOf({ sleeps: true }, /doubly owned/, 4);
  });

  it("a member that says it let go while it works on a record", async () => {
    const distort = (method: string, request: object) =>
      method === "heartbeat" ? { ...request, owned: [] } : request;
    await findingOf({ distort }, /doubly owned/, 2);
  });

  it("a group that takes members for dead sooner than they do themselves", async () => {
    const distort = (method: string, request: object) =>
      method === "heartbeat" ? { ...request, sessionTimeoutMs: 1_000 } : request;
    await findingOf({ distort }, /doubly owned/, 3);
  });

  it("an application that commits before it works", async () => {
    await findingOf({ commitsFirst: true }, /processed by nobody/, 3);
  });

  it("metadata that stores the commits of stale members", async () => {
    await findingOf({ sleeps: true, metadata: withoutEpochs }, /a commit of .* was accepted/, 1);
  });

  it("agents that answer the fetches of stale members", async () => {
    const restore = agentsThatNeverForget();
    try {
      await findingOf({ sleeps: true }, /a fetch of .* was answered/, 1);
    } finally {
      restore();
    }
  });
});

/** A member commits 1, which arrives when it has committed 3: what is committed then, and what the checks say. */
async function lateCommit(distort: (method: string, request: object) => object) {
  const model: GroupModel = new GroupModel(() => fleet.clock.monotonic());
  const fleet = new Fleet((metadata) => model.watched(metadata));
  const agents = [await fleet.start("a"), await fleet.start("b")];
  const topicId = await createTopic(fleet.member("a"), "t");
  await fleet.clock.run(4_000);
  const producer = fleet.producer({ lingerMs: 0 });
  for (let i = 0; i < 3; i++) await fleet.clock.until(producer.send({ topic: "t", value: "v" }));
  const consumer = { autoCommit: false };
  const options = { name: "m", seed: 9, workMs: () => 60_000, consumer, distort };
  const member = new GroupMemberProcess(fleet, model, options);
  const commit = (offset: number) => member.consumer.commit([{ topic: "t", partition: 0, offset }]);
  while (model.handedOut === 0) await fleet.clock.run(100);
  for (const { faults } of agents) faults.next.commitOffsets = ["late"];
  await fleet.clock.until(commit(1));
  member.consumer.seek("t", 0, 3);
  await fleet.clock.until(commit(3));
  for (const { faults } of agents) faults.release();
  await fleet.clock.run(100);
  const [stored] = await fleet.metadata.fetchOffsets("g", [{ topicId, partition: 0 }]);
  member.kill();
  await member.put();
  await fleet.clock.until(producer.close());
  await fleet.stop();
  return { stored: stored?.offset, broken: model.broken };
}

describe("a commit that was sent again and arrives after a later one", () => {
  it("leaves the group where it is", async () => {
    const { stored, broken } = await lateCommit((_, request) => request);
    assert.equal(stored, 3);
    assert.deepEqual(broken, []);
  });

  it("would take the group back if it did not say that it goes forward only, and is found", async () => {
    const distort = (method: string, request: object) =>
      method === "commitOffsets" ? { ...request, forwardOnly: false } : request;
    const { stored, broken } = await lateCommit(distort);
    assert.equal(stored, 1);
    assert.match(broken.join(), /the committed offset of 0 went back from 3 to 1/);
  });
});
