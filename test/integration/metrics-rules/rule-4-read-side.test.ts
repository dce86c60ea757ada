/**
 * METRICS rule 4 for consumers: what is read, finished and committed is counted once, when that happens, and not when it is fetched, asked
 * for or promised. Work is stopped at each of its moments and the instruments are read there.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Consumer } from "../../../src/consumer/consumer.ts";
import { catalogue as c } from "../../../src/telemetry/catalogue.ts";
import { eventually } from "../child.ts";
import { type MomentsRoom, openMomentsRoom, type RoomWay } from "./moments-room.ts";

const topic = "orders";
const group = "billing";
const of = { topic, group_id: group };
const place = { ...of, partition: 0 };
const ways: readonly RoomWay[] = ["in process", "over gRPC"];

for (const way of ways) {
  describe(`METRICS rule 4, ${way}: what is read is counted once, at its moment`, () => {
    let room: MomentsRoom;
    let consumer: Consumer;
    let produced = 0;
    let sendOne: () => Promise<unknown>;

    const consumed = () => room.value(c.recordsConsumed, of) ?? 0;
    const bytes = () => room.value(c.bytesConsumed, of) ?? 0;
    const polls = () => room.samples(c.pollDuration, { group_id: group });
    const position = () => room.value(c.currentOffset, place);
    const committed = () => room.value(c.lastCommittedOffset, place);
    const lag = () => [
      room.value(c.consumerLagRecords, place),
      (room.value(c.consumerLagSeconds, place) ?? 0) > 0,
    ];

    before(async () => {
      room = await openMomentsRoom(way);
      const house = await room.open();
      await house.admin.createTopic(topic);
      const producer = house.producer();
      sendOne = async () => {
        await producer.send({ topic, value: `record ${produced++}` });
      };
      for (let i = 0; i < 10; i++) await sendOne();
      consumer = house.consumer({
        ...{ group, topics: [topic], autoCommit: false, maxPollRecords: 4, lagIntervalMs: 20 },
      });
    });

    after(() => room.close());

    it("poll.duration: when a poll has ended; records and bytes consumed and current_offset: what it handed out", async () => {
      room.faults.next.heartbeat = ["hold"];
      const polling = consumer.poll(20_000);
      await eventually("joining to be held", async () => room.faults.held === 1);
      assert.deepEqual([polls(), consumed(), bytes(), position()], [0, 0, 0, undefined]);
      room.faults.release();
      assert.equal((await polling).length, 4);
      // Ten were fetched.
      assert.deepEqual([polls(), consumed(), position()], [1, 4, 4]);
      assert.ok(bytes() > 0);
    });

    it("last_committed_offset and lag: when an agent has stored the commit, and not before", async () => {
      assert.equal(committed(), undefined);
      room.faults.next.commitOffsets = ["hold"];
      const committing = consumer.commit();
      await eventually("the commit to be held", async () => room.faults.held === 1);
      assert.equal(committed(), undefined);
      room.faults.release();
      await committing;
      assert.equal(committed(), 4);
      await eventually("the lag of the commit", async () => lag()[0] === 6);
      assert.deepEqual(lag(), [6, true]);
      assert.deepEqual([polls(), consumed()], [1, 4]);
    });

    it("last_committed_offset: a commit that is refused changes nothing", async () => {
      assert.equal((await consumer.poll(20_000)).length, 4);
      room.faults.next.commitOffsets = Array.from({ length: 3 }, () => "none" as const);
      await consumer.commit([{ topic, partition: 0, offset: 6 }]);
      assert.equal(room.faults.next.commitOffsets.length, 0);
      assert.equal(committed(), 6);
      await assert.rejects(consumer.commit([{ topic, partition: 0, offset: 9 }]), {
        code: "INVALID_ARGUMENT",
      });
      assert.equal(committed(), 6);
    });

    it("records.consumed: each once in a loop, also one that is given out again after a break", async () => {
      const earlier = { consumed: consumed(), bytes: bytes(), polls: polls() };
      const read: string[] = [];
      for await (const record of consumer) {
        read.push(record.text());
        break;
      }
      assert.equal(consumed(), earlier.consumed + 1);
      // The record is unfinished: it will be given out again, which the position says.
      assert.equal(position(), 8);
      const bytesOfOne = bytes() - earlier.bytes;
      for await (const record of consumer) {
        read.push(record.text());
        if (read.length === 3) break;
      }
      assert.deepEqual(read, ["record 8", "record 8", "record 9"]);
      assert.equal(consumed(), earlier.consumed + 2);
      assert.ok(bytesOfOne > 0 && bytes() > earlier.bytes + bytesOfOne);
      // Loops are no polls.
      assert.equal(polls(), earlier.polls);
    });

    it("consumer.lag: grows by what is written, without a poll; 0 in records and seconds when all is committed", async () => {
      await sendOne();
      await eventually("the lag of what was written", async () => lag()[0] === 5);
      assert.deepEqual(lag(), [5, true]);
      while ((position() ?? 0) < 11) await consumer.poll(20_000);
      assert.deepEqual(lag(), [5, true]);
      await consumer.commit();
      await eventually("no lag", async () => lag()[0] === 0);
      assert.deepEqual(lag(), [0, false]);
    });

    it("poll.duration: one sample for a poll that finds nothing, and for one that fails", async () => {
      const earlier = { consumed: consumed(), polls: polls() };
      assert.deepEqual(await consumer.poll(1), []);
      assert.equal(polls(), earlier.polls + 1);
      await assert.rejects(consumer.poll(20_000, { signal: AbortSignal.abort() }));
      assert.equal(polls(), earlier.polls + 2);
      assert.equal(consumed(), earlier.consumed);
    });

    it("the gauges of a partition are gone with it", async () => {
      await consumer.close();
      assert.deepEqual([position(), committed(), lag()[0]], [undefined, undefined, undefined]);
    });
  });
}
