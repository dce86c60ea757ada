/**
 * METRICS rule 4: a value is counted in one place only, at the moment that its meaning names. Work is stopped at each of its moments, and
 * the instruments of producer, agent and gRPC server are read there: exactly before, exactly after, never twice.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { House } from "../../../src/house/house.ts";
import type { Producer } from "../../../src/producer/producer.ts";
import { catalogue as c } from "../../../src/telemetry/catalogue.ts";
import { eventually } from "../child.ts";
import { type MomentsRoom, openMomentsRoom, type RoomWay } from "./moments-room.ts";

const topic = "orders";
const of = { topic };
const ways: readonly RoomWay[] = ["in process", "over gRPC"];
const produceStream = "streamhouse.v1.ProducerService/ProduceStream";
const createTopic = "streamhouse.v1.AdminService/CreateTopic";

/** What a producer and the agent that it writes to count. */
function writeCounts(room: MomentsRoom) {
  return {
    recordsSent: room.value(c.recordsSent, of) ?? 0,
    bytesSent: room.value(c.bytesSent, of) ?? 0,
    sends: room.samples(c.sendDuration, of),
    answers: room.samples(c.batchFlushDuration, of),
    batches: room.samples(c.batchSizeRecords, of),
    batchRecords: room.value(c.batchSizeRecords, of) ?? 0,
    batchBytes: room.value(c.batchSizeBytes, of) ?? 0,
    errors: room.value(c.sendErrors) ?? 0,
    pending: room.value(c.pendingRecords, of) ?? 0,
    recordsWritten: room.value(c.recordsWritten, of) ?? 0,
    latencies: room.samples(c.writeLatency, of),
    frames: room.value(c.grpcRequests, { method: produceStream }) ?? 0,
    frameDurations: room.samples(c.grpcRequestDuration, { method: produceStream }),
  };
}

for (const way of ways) {
  describe(`METRICS rule 4, ${way}: what is written is counted once, at its moment`, () => {
    let room: MomentsRoom;
    let house: House;
    let producer: Producer;

    before(async () => {
      room = await openMomentsRoom(way);
      assert.equal(room.value(c.activeConnections) ?? 0, 0);
      house = await room.open();
      producer = house.producer({ retryBackoffMs: 1, requestTimeoutMs: 20_000 });
    });

    after(() => room.close());

    it("active.connections: open ones", () => {
      const open = room.value(c.activeConnections) ?? 0;
      if (way === "over gRPC") assert.ok(open >= 1, `${open}`);
      else assert.equal(open, 0);
    });

    it("grpc.requests and their durations when a call is answered, failures too; active.partitions with the lease", async () => {
      room.faults.next.createTopic = ["hold"];
      const creating = house.admin.createTopic(topic);
      await eventually("the call to be held", async () => room.faults.held === 1);
      const calls = () => [
        room.value(c.grpcRequests, { method: createTopic }) ?? 0,
        room.samples(c.grpcRequestDuration, { method: createTopic }),
      ];
      assert.deepEqual(calls(), [0, 0]);
      assert.equal(room.value(c.activePartitions, of), undefined);
      room.faults.release();
      await creating;
      const one = way === "over gRPC" ? 1 : 0;
      // The call is counted when its answer is on the wire, which the caller may be told before.
      await eventually("the call to be counted", async () => calls()[0] === one);
      assert.deepEqual(calls(), [one, one]);
      assert.equal(room.value(c.activePartitions, of), 1);
      await assert.rejects(house.admin.createTopic(topic), { code: "TOPIC_EXISTS" });
      await eventually("the call to be counted", async () => calls()[0] === 2 * one);
      const failed = { method: createTopic, status: "ALREADY_EXISTS" };
      assert.equal(room.value(c.grpcRequests, failed) ?? 0, one);
      assert.deepEqual(calls(), [2 * one, 2 * one]);
    });

    it("nothing is sent or written before the commit, everything is once after it", async () => {
      const nothing = writeCounts(room);
      room.faults.next.commitFlush = ["hold"];
      const sends = ["a", "b", "c"].map((value) => producer.send({ topic, value }));
      await eventually("the commit to be held", async () => room.faults.held === 1);
      const held = writeCounts(room);
      assert.deepEqual(held, {
        ...nothing,
        batches: 1,
        batchRecords: 3,
        batchBytes: held.batchBytes,
        pending: 3,
      });
      room.faults.release();
      await Promise.all(sends);
      const frames = way === "over gRPC" ? 1 : 0;
      await eventually("the frame to be counted", async () => writeCounts(room).frames === frames);
      assert.deepEqual(writeCounts(room), {
        ...held,
        ...{ recordsSent: 3, bytesSent: held.batchBytes, sends: 3, answers: 1, pending: 0 },
        ...{ recordsWritten: 3, latencies: 1, frames, frameDurations: frames },
      });
    });

    it("a write that the agent repeats is counted once", async () => {
      const earlier = writeCounts(room);
      room.sink.fates.push("fail");
      room.faults.next.commitFlush = ["none", "applied"];
      await producer.send({ topic, value: "d" });
      const { recordsSent, recordsWritten, latencies, batches, errors } = writeCounts(room);
      assert.equal(recordsSent, earlier.recordsSent + 1);
      assert.equal(recordsWritten, earlier.recordsWritten + 1);
      assert.equal(latencies, earlier.latencies + 1);
      assert.equal(batches, earlier.batches + 1);
      assert.equal(errors, earlier.errors);
    });

    it("a batch that the producer sends again is one batch, one flush, no error, and each frame a request", async () => {
      const earlier = writeCounts(room);
      const retries = room.value(c.retries) ?? 0;
      room.sink.fates.push("full");
      await producer.send({ topic, value: "e" });
      assert.equal((room.value(c.retries) ?? 0) - retries, 1);
      const frames = way === "over gRPC" ? 2 : 0;
      await eventually(
        "the frames to be counted",
        async () => writeCounts(room).frames === earlier.frames + frames,
      );
      const now = writeCounts(room);
      assert.deepEqual(now, {
        ...earlier,
        recordsSent: earlier.recordsSent + 1,
        bytesSent: earlier.bytesSent + now.batchBytes - earlier.batchBytes,
        sends: earlier.sends + 1,
        answers: earlier.answers + 1,
        batches: earlier.batches + 1,
        batchRecords: earlier.batchRecords + 1,
        batchBytes: now.batchBytes,
        recordsWritten: earlier.recordsWritten + 1,
        latencies: earlier.latencies + 1,
        frames: earlier.frames + frames,
        frameDurations: earlier.frameDurations + frames,
      });
    });

    it("a record that fails for good is an error once, and nothing else", async () => {
      const earlier = writeCounts(room);
      const sending = producer.send({ topic, value: new Uint8Array(2_000_000) });
      await assert.rejects(sending, { code: "RECORD_TOO_LARGE" });
      const { errors, sends } = earlier;
      assert.deepEqual(writeCounts(room), { ...earlier, errors: errors + 1, sends: sends + 1 });
      assert.equal(room.value(c.sendErrors, { ...of, "error.type": "RECORD_TOO_LARGE" }), 1);
    });

    it("a record whose caller gives up while it is on its way is an error, and not sent, though it is written", async () => {
      const earlier = writeCounts(room);
      room.faults.next.commitFlush = ["hold"];
      const abort = new AbortController();
      const sending = producer.send({ topic, value: "f" }, { signal: abort.signal });
      await eventually("the commit to be held", async () => room.faults.held === 1);
      abort.abort();
      await assert.rejects(sending, { code: "ABORTED", outcome: "unknown" });
      assert.equal(writeCounts(room).errors, earlier.errors + 1);
      room.faults.release();
      await producer.flush();
      await eventually(
        "the batch to be answered",
        async () => writeCounts(room).answers === earlier.answers + 1,
      );
      const now = writeCounts(room);
      assert.equal(now.recordsSent, earlier.recordsSent);
      assert.equal(now.recordsWritten, earlier.recordsWritten + 1);
      assert.equal(now.errors, earlier.errors + 1);
      assert.equal(now.pending, 0);
    });

    it("lease.renewals: at the answer, by what it says", async () => {
      const renewals = (status: string) => room.value(c.leaseRenewals, { status }) ?? 0;
      room.faults.next.renewRun = ["hold"];
      await eventually("a renewal to be held", async () => room.faults.held === 1);
      const ok = renewals("ok");
      assert.equal(renewals("error"), 0);
      room.faults.next.renewRun = ["none"];
      room.faults.release();
      await eventually("a renewal to fail", async () => renewals("error") === 1);
      assert.equal(renewals("ok"), ok + 1);
      assert.equal(renewals("lost"), 0);
    });

    it("active.partitions and active.connections: gone with what they count", async () => {
      await house.admin.deleteTopic(topic);
      assert.equal(room.value(c.activePartitions, of), undefined);
      await house.close();
      await eventually("no connection", async () => (room.value(c.activeConnections) ?? 0) === 0);
    });
  });
}
