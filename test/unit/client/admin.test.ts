import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createAdmin } from "../../../src/client/admin.ts";
import { createCluster } from "../../../src/client/cluster.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { StreamHouseError, type StreamHouseErrorInit } from "../../../src/core/errors.ts";
import { systemRandom } from "../../../src/core/ids.ts";
import { silentLogger } from "../../../src/core/logger.ts";
import type { AgentApi } from "../../../src/rpc/agent-api.ts";
import {
  CreateTopicResponse,
  DescribeTopicResponse,
  ListTopicsResponse,
} from "../../../src/rpc/gen/streamhouse/v1/admin.ts";
import { ListOffsetsResponse } from "../../../src/rpc/gen/streamhouse/v1/consumer.ts";
import {
  DescribeGroupResponse,
  ListGroupsResponse,
} from "../../../src/rpc/gen/streamhouse/v1/group.ts";
import { failureOf } from "../rpc/fake-agent.ts";
import { fakeTransport } from "./fake-transport.ts";

function adminOver(methods: Partial<AgentApi>) {
  const transport = fakeTransport(["a:1"], () => methods);
  const components = { clock: systemClock, random: systemRandom, logger: silentLogger };
  const admin = createAdmin(createCluster(transport, components), components);
  const calls = (name: keyof AgentApi) => transport.seen("a:1").filter((it) => it.name === name);
  return { admin, calls };
}

function busy(more: Partial<StreamHouseErrorInit> = {}): StreamHouseError {
  const message = "metadata is away";
  return new StreamHouseError({
    ...{ code: "METADATA_UNAVAILABLE", kind: "unavailable", message },
    ...more,
  });
}

const topic = { topicId: "id-1", name: "orders", partitions: 3, retentionMs: 5, createdAtMs: 7 };
const friendly = { id: "id-1", name: "orders", partitions: 3, retentionMs: 5, createdAtMs: 7 };

describe("the admin client", () => {
  it("creates a topic with defaults, and answers it", async () => {
    const { admin, calls } = adminOver({
      createTopic: async () => CreateTopicResponse.fromPartial({ topic }),
    });
    assert.deepEqual(await admin.createTopic("orders"), friendly);
    const [call] = calls("createTopic");
    assert.deepEqual(call?.request, { name: "orders", partitions: 1, retentionMs: 0 });
    assert.ok((call?.call.timeoutMs ?? 0) > 0);
  });

  it("refuses bad names and numbers before it asks", async () => {
    const { admin, calls } = adminOver({});
    assert.equal((await failureOf(admin.createTopic("a b"))).code, "INVALID_TOPIC_NAME");
    for (const partitions of [0, -1, 1.5, Number.NaN]) {
      const error = await failureOf(admin.createTopic("orders", { partitions }));
      assert.equal(error.field, "partitions");
    }
    const error = await failureOf(admin.alterTopic("orders", { retentionMs: -1 }));
    assert.equal(error.field, "retentionMs");
    assert.equal(calls("createTopic").length + calls("alterTopic").length, 0);
  });

  it("asks again after failures that pass, and says the last one when time is up", async () => {
    let failures = 2;
    const { admin, calls } = adminOver({
      listTopics: async () => {
        if (failures-- > 0) throw busy({ outcome: "unknown" });
        return ListTopicsResponse.fromPartial({ topics: [topic, { ...topic, name: "a" }] });
      },
    });
    const listed = await admin.listTopics();
    assert.deepEqual(
      listed.map((it) => it.name),
      ["a", "orders"],
    );
    assert.equal(calls("listTopics").length, 3);
    failures = 1_000;
    const error = await failureOf(admin.listTopics({ timeoutMs: 200 }));
    assert.equal(error.code, "METADATA_UNAVAILABLE");
  });

  it("repeats a change only when it was certainly not applied", async () => {
    let outcome: "none" | "unknown" = "unknown";
    const failing = async () => {
      throw busy({ outcome });
    };
    const { admin, calls } = adminOver({ createTopic: failing, deleteTopic: failing });
    assert.equal((await failureOf(admin.createTopic("orders"))).outcome, "unknown");
    assert.equal((await failureOf(admin.deleteTopic("orders"))).outcome, "unknown");
    assert.equal(calls("createTopic").length, 1);
    assert.equal(calls("deleteTopic").length, 1);
    outcome = "none";
    await failureOf(admin.createTopic("orders", { timeoutMs: 2_000 }));
    assert.ok(calls("createTopic").length > 2);
  });

  it("stops waiting when its caller aborts", async () => {
    const { admin } = adminOver({
      listTopics: async () => {
        throw busy({ retryAfterMs: 20_000 });
      },
    });
    const stop = new AbortController();
    const listing = failureOf(admin.listTopics({ signal: stop.signal }));
    setTimeout(() => stop.abort(), 20);
    assert.equal((await listing).code, "ABORTED");
  });

  it("describes topics and groups in its own words", async () => {
    const { admin } = adminOver({
      describeTopic: async () =>
        DescribeTopicResponse.fromPartial({
          topic,
          partitions: [
            { partition: 0, highWatermark: 9, logStartOffset: 1, holderRunId: "r", leaseEpoch: 4 },
            { partition: 1 },
          ],
        }),
      describeGroup: async () =>
        DescribeGroupResponse.fromPartial({
          ...{ group: "g", groupEpoch: 2, asOfMs: 11 },
          members: [{ memberId: "m", clientId: "c", memberEpoch: 2 }],
          lags: [
            { topic: "orders", partition: 0, committedOffset: -1, highWatermark: 9, lagRecords: 8 },
            { partition: 1, error: { code: "CORRUPT_SEGMENT", kind: "corrupt", message: "!" } },
          ],
        }),
    });
    const { partitionList, ...rest } = await admin.describeTopic("orders");
    assert.deepEqual(rest, friendly);
    assert.deepEqual(partitionList[0]?.holder, { runId: "r", address: "" });
    assert.equal(partitionList[1]?.holder, undefined);
    const group = await admin.describeGroup("g");
    assert.deepEqual([group.group, group.epoch, group.asOfMs], ["g", 2, 11]);
    assert.equal(group.members[0]?.epoch, 2);
    assert.equal(group.lags[0]?.committedOffset, undefined);
    assert.equal(group.lags[0]?.lagRecords, 8);
    assert.equal(group.lags[1]?.error?.code, "CORRUPT_SEGMENT");
    assert.equal(group.lags[1]?.committedOffset, 0);
  });

  it("tells what state groups are in, and says it of agents that do not", async () => {
    const assigned = [{ topicId: "id-1", topic: "orders", partition: 2 }];
    const { admin } = adminOver({
      listGroups: async () =>
        ListGroupsResponse.fromPartial({
          groups: [
            { group: "a", members: 2, groupEpoch: 5, state: "reconciling" },
            { group: "b", members: 1 },
            { group: "c" },
          ],
        }),
      describeGroup: async () =>
        DescribeGroupResponse.fromPartial({
          state: "reconciling",
          members: [
            {
              ...{ memberId: "m", instanceId: "i", memberEpoch: 4, topics: ["orders"] },
              ...{ sessionLeftMs: 900, revoking: assigned },
            },
          ],
        }),
    });
    assert.deepEqual(
      (await admin.listGroups()).map((it) => `${it.group} ${it.members} ${it.epoch} ${it.state}`),
      ["a 2 5 reconciling", "b 1 0 stable", "c 0 0 empty"],
    );
    const { state, members } = await admin.describeGroup("a");
    assert.equal(state, "reconciling");
    assert.deepEqual(members, [
      {
        ...{ memberId: "m", instanceId: "i", clientId: "", epoch: 4, topics: ["orders"] },
        ...{ sessionLeftMs: 900, assigned: [], revoking: assigned },
      },
    ]);
  });

  it("sets a group's offsets by the topics' names, in one request that is not repeated blindly", async () => {
    const { admin, calls } = adminOver({
      describeTopic: async () => DescribeTopicResponse.fromPartial({ topic }),
      commitOffsets: async () => {
        throw busy({ outcome: "unknown" });
      },
      deleteGroup: async () => {
        throw busy({ outcome: "unknown" });
      },
    });
    const at = (partition: number, offset: number) => ({ topic: "orders", partition, offset });
    const failed = await failureOf(admin.alterGroupOffsets("g", [at(0, 4), at(2, 0)]));
    assert.equal(failed.outcome, "unknown");
    const [call, ...more] = calls("commitOffsets");
    assert.deepEqual(call?.request, {
      ...{ group: "g", memberId: "", memberEpoch: 0, forwardOnly: false },
      offsets: [
        { topicId: "id-1", partition: 0, offset: 4, metadata: "" },
        { topicId: "id-1", partition: 2, offset: 0, metadata: "" },
      ],
    });
    assert.equal(more.length, 0);
    assert.equal(calls("describeTopic").length, 1);
    assert.equal((await failureOf(admin.deleteGroup("g"))).outcome, "unknown");
    assert.equal(calls("deleteGroup").length, 1);
    const beyond = await failureOf(admin.alterGroupOffsets("g", [at(3, 0)]));
    assert.equal(beyond.code, "PARTITION_OUT_OF_RANGE");
    const negative = await failureOf(admin.alterGroupOffsets("g", [at(0, -1)]));
    assert.equal(negative.field, "offset");
    assert.equal(calls("commitOffsets").length, 1);
  });

  it("finds offsets by position and by time", async () => {
    const { admin, calls } = adminOver({
      describeTopic: async () => DescribeTopicResponse.fromPartial({ topic }),
      listOffsets: async (request) =>
        ListOffsetsResponse.fromPartial({
          offsets: request.partitions.map(({ partition }) => ({
            partition,
            offset: 10 + partition,
          })),
        }),
    });
    assert.deepEqual(
      (await admin.offsets("orders", "latest")).map((it) => it.offset),
      [10, 11, 12],
    );
    await admin.offsets("orders", "earliest");
    await admin.offsets("orders", new Date(77));
    const asked = calls("listOffsets").map(
      (it) => (it.request as { partitions: { timestampMs: number }[] }).partitions[2]?.timestampMs,
    );
    assert.deepEqual(asked, [-1, -2, 77]);
  });
});
