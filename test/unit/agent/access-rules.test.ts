/**
 * Who may call what. The model here is written anew, from the proto and from what docs/access.md promises; random keys and random
 * requests are judged by both.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type AccessRule, accessRules } from "../../../src/agent/access-rules.ts";
import { type AccessAction, type AccessRight, accessActions } from "../../../src/core/access.ts";
import { createUuid } from "../../../src/core/ids.ts";
import type { AgentApi, CallContext } from "../../../src/rpc/agent-api.ts";
import { type MessageType, services } from "../../../src/rpc/methods.ts";
import { root } from "../../structure/source-tree.ts";
import { type AccessWorld, accessWorld, topicNames } from "./access-world.ts";

const methods = services.flatMap((service) =>
  Object.entries(service.methods).map(([key, method]) => ({ key, service, method })),
);
const unary = methods.filter(({ method }) => !method.requestStream);
const ghost = createUuid();

/** What the proto's requests name: for each field with a topic, how it names it. */
interface Named {
  readonly names: readonly string[];
  readonly ids: readonly string[];
}

/** Any of the actions, for all that is named; where nothing is named, somewhere. */
interface Need {
  readonly any: readonly AccessAction[];
  readonly named?: (request: never) => Named;
  readonly everywhere?: boolean;
}

type Ids = readonly { readonly topicId: string }[];
const ids = (all: Ids): Named => ({ names: [], ids: all.map((it) => it.topicId) });
const name = (request: { readonly name: string }): Named => ({ names: [request.name], ids: [] });
const all = { any: ["admin"], everywhere: true } as const;

const model: Readonly<Record<string, Need>> = {
  initProducer: { any: ["produce"] },
  produce: {
    any: ["produce"],
    named: ({ batches }: { batches: { topic: string; topicId: string }[] }) => ({
      names: batches.map((it) => it.topic),
      ids: batches.map((it) => it.topicId),
    }),
  },
  fetch: { any: ["consume"], named: (it: { partitions: Ids }) => ids(it.partitions) },
  listOffsets: { any: ["consume"], named: (it: { partitions: Ids }) => ids(it.partitions) },
  heartbeat: {
    any: ["consume"],
    named: (it: { topics: string[]; owned: Ids }) => ({ ...ids(it.owned), names: it.topics }),
  },
  leave: { any: ["consume"] },
  commitOffsets: { any: ["consume"], named: (it: { offsets: Ids }) => ids(it.offsets) },
  fetchOffsets: { any: ["consume"], named: (it: { partitions: Ids }) => ids(it.partitions) },
  listGroups: { any: ["consume", "admin"] },
  describeGroup: {
    any: ["consume", "admin"],
    named: (it: { positions: Ids }) => ids(it.positions),
  },
  deleteGroup: { any: ["admin"] },
  createTopic: { any: ["admin"], named: name },
  deleteTopic: { any: ["admin"], named: name },
  alterTopic: { any: ["admin"], named: name },
  listTopics: { any: ["produce", "consume", "admin"] },
  describeTopic: {
    any: ["produce", "consume", "admin"],
    named: (it: { name: string; topicId: string }) =>
      it.name === "" ? { names: [], ids: [it.topicId] } : { names: [it.name], ids: [] },
  },
  describeCluster: { any: ["produce", "consume", "admin"] },
  createKey: all,
  listKeys: all,
  revokeKey: all,
};

function modelAllows(world: AccessWorld, need: Need, rights: readonly AccessRight[], it: never) {
  const may = (topic: string) =>
    rights.some(
      ({ action, topicPrefix }) =>
        need.any.includes(action) && topic.slice(0, topicPrefix.length) === topicPrefix,
    );
  if (need.everywhere) {
    return rights.some((right) => need.any.includes(right.action) && right.topicPrefix === "");
  }
  if (!rights.some((right) => need.any.includes(right.action))) return false;
  const named = need.named?.(it) ?? { names: [], ids: [] };
  const nameOf = new Map([...world.topics.values()].map((topic) => [topic.id, topic.name]));
  return (
    named.names.filter((topic) => topic !== "").every(may) &&
    named.ids
      .filter((id) => id !== "" && id !== ghost)
      .every((id) => {
        const topic = nameOf.get(id);
        return topic !== undefined && may(topic);
      })
  );
}

const right: fc.Arbitrary<AccessRight> = fc.record({
  action: fc.constantFrom(...accessActions),
  topicPrefix: fc.constantFrom("", "a", "a.", "a.x", "ab", "b.", "c", "d"),
});

/** Requests made of what the proto's messages have: topics by name, by id, by both, by an id spelt otherwise, and ghosts. */
function requests(world: AccessWorld): fc.Arbitrary<object> {
  const topic = fc.constantFrom(...topicNames, "", "d.new");
  const id = fc
    .tuple(fc.constantFrom(...topicNames), fc.integer({ min: 0, max: 9 }))
    .map(([one, how]) => {
      if (how === 0) return ghost;
      if (how === 1) return "";
      if (how === 2)
        return world
          .id(one)
          .toUpperCase()
          .replace(/^[0-9-]*$/, "F");
      return how === 3 ? world.id(one).replaceAll("-", "") : world.id(one);
    });
  const partitions = fc.array(fc.record({ topicId: id, partition: fc.constant(0) }), {
    maxLength: 3,
  });
  return fc.record({
    name: topic,
    topicId: id,
    topics: fc.array(
      topic.filter((it) => it !== ""),
      { maxLength: 2 },
    ),
    batches: fc.array(fc.record({ topic, topicId: id }), { maxLength: 3 }),
    ...{ partitions, owned: partitions, offsets: partitions, positions: partitions },
    ...{ group: fc.constant("g"), memberId: fc.constant("m"), keyId: fc.constant("k") },
  });
}

function only(method: { readonly requestType: unknown }, request: object): object {
  const type = method.requestType as MessageType<object>;
  const fields = Object.keys(type.fromPartial({}));
  const picked = Object.entries(request).filter(([field]) => fields.includes(field));
  return type.fromPartial(Object.fromEntries(picked));
}

describe("the rules of access", () => {
  it("are there for every method of the proto, in the rules and in the model of this test", () => {
    const expected = unary.map(({ key }) => key).sort();
    assert.deepEqual(Object.keys(accessRules).sort(), expected);
    assert.deepEqual(Object.keys(model).sort(), expected);
    const streams = methods.filter(({ method }) => method.requestStream).map(({ key }) => key);
    assert.deepEqual(streams, ["produceStream"], "a new stream needs a rule, and a test below");
  });

  it("stand in docs/access.md as they are", () => {
    const page = readFileSync(join(root, "docs/access.md"), "utf8");
    const wrong = unary
      .map(({ key, service, method }) => {
        const rule: AccessRule<never> = accessRules[key as keyof AgentApi];
        return `| \`${service.name}/${method.name}\` | ${ruleText(rule)} |`;
      })
      .filter((row) => !page.includes(row));
    assert.deepEqual(wrong, []);
  });

  for (const { key, method } of unary) {
    it(`let no key do more, or less, than the model says: ${key}`, async () => {
      const world = accessWorld();
      const pass = world.access.api[key as keyof AgentApi] as unknown as (
        request: object,
        call: CallContext,
      ) => Promise<unknown>;
      const need = model[key];
      assert.ok(need !== undefined);
      const both = new Set<boolean>();
      await fc.assert(
        fc.asyncProperty(
          fc.array(right, { minLength: 1, maxLength: 3 }),
          requests(world),
          fc.subarray([...topicNames]),
          async (rights, some, hidden) => {
            const request = only(method, some);
            const credential = world.key(rights);
            world.hide(...hidden);
            const before = world.seen.length;
            const expected = modelAllows(world, need, rights, request as never);
            both.add(expected);
            const error = await pass(request, { credential }).then(
              () => undefined,
              (thrown: unknown) => thrown as { code?: string },
            );
            assert.equal(error?.code, expected ? undefined : "PERMISSION_DENIED");
            assert.equal(world.seen.length - before, expected ? 1 : 0);
            // The agent behind the gate never sees what was shown.
            if (expected) assert.equal(world.seen.at(-1)?.call.credential, undefined);
            world.keys.length = 0;
          },
        ),
        { numRuns: 100 },
      );
      // Every key has some right, and some calls ask for no more.
      const isOpen = need.any.length === accessActions.length && need.named === undefined;
      assert.equal(both.size, isOpen ? 1 : 2, "both were tried");
    });
  }
});

/** A rule in the words of the table. */
function ruleText({ actions, scope, beyond }: AccessRule<never>): string {
  const words = actions.map((it) => `\`${it}\``).join(" or ");
  const where = { topics: "each topic named", some: "some topic", every: "every topic" }[scope];
  const also = {
    group: "; and for each topic of the group or member it is about",
    answer: "; the answer holds only what the key may see",
  };
  return `${words} for ${where}${beyond === undefined ? "" : also[beyond]}`;
}
