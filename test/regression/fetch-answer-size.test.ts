/**
 * Broke: a consumer with a backlog of small batches got nothing any more. Its fetch answer was larger than a gRPC message may be,
 * the server refused to send it, and each retry asked for the same.
 * Why: an answer was filled up to 8 MiB of batches, and only 64 KiB were left for what frames them: some 20 bytes for each
 * batch and 70 for each partition, however many there were.
 * Cure: the frames count.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { limits } from "../../src/core/limits.ts";
import { readBatchHeader } from "../../src/format/batch-header.ts";
import { FetchResponse } from "../../src/rpc/gen/streamhouse/v1/consumer.ts";
import { Acks } from "../../src/rpc/gen/streamhouse/v1/producer.ts";
import { type BenchAgent, batchOf, createTopic, startAgent } from "../unit/agent/bench-agent.ts";

const PARTITIONS = 1_000;
const ROUNDS = 9;

async function fetchAll(bench: BenchAgent, topicId: string, partitions: number) {
  const asked = Array.from({ length: partitions }, (_, partition) => ({
    ...{ topicId, partition, offset: 0, maxBytes: limits.requestBytesMax },
  }));
  const group = { group: "", memberId: "", memberEpoch: 0 };
  return bench.agent.api.fetch(
    { partitions: asked, maxWaitMs: 0, minBytes: 1, maxBytes: 0, ...group },
    {},
  );
}

describe("a fetch answer", () => {
  for (const tailCacheBytesMax of [0, 128 * 1_048_576]) {
    describe(tailCacheBytesMax === 0 ? "from the store" : "from the tail cache", () => {
      let bench: BenchAgent;
      let topicId: string;

      before(async () => {
        bench = await startAgent({ agent: { tailCacheBytesMax } });
        topicId = await createTopic(bench, "t", { partitions: PARTITIONS });
        for (let round = 0; round < ROUNDS; round++) {
          const batches = Array.from({ length: PARTITIONS }, (_, partition) => ({
            ...{ topic: "t", topicId: "", partition, records: batchOf(["x".repeat(1_000)]) },
          }));
          const request = { acks: Acks.ACKS_DURABLE, timeoutMs: 30_000, batches };
          await bench.clock.until(bench.agent.api.produce(request, {}));
        }
      });
      after(() => bench.clock.until(bench.agent.stop()));

      it("is no larger than a message may be, with its frames", async () => {
        const answer = await fetchAll(bench, topicId, PARTITIONS);
        const size = FetchResponse.encode(answer).finish().length;
        assert.ok(size <= limits.messageBytesMax, `${size} bytes`);
        assert.ok(size > limits.messageBytesMax - 100_000, `it is well filled: ${size} bytes`);
      });

      it("brings a partition's batches without a hole", async () => {
        const { partitions } = await fetchAll(bench, topicId, PARTITIONS);
        for (const { batches } of partitions) {
          const offsets = batches.map((it) => readBatchHeader(it.records).baseOffset);
          assert.deepEqual(offsets, [...offsets.keys()]);
        }
      });
    });
  }

  it("brings something even to a request with as many partitions as there may be", async () => {
    const bench = await startAgent();
    const topicId = await createTopic(bench, "t", { partitions: 1 });
    const records = batchOf(["x".repeat(1_000_000)]);
    const batches = [{ topic: "t", topicId: "", partition: 0, records }];
    const request = { acks: Acks.ACKS_DURABLE, timeoutMs: 30_000, batches };
    await bench.clock.until(bench.agent.api.produce(request, {}));
    const answer = await fetchAll(bench, topicId, limits.partitionsPerRequestMax);
    assert.equal(answer.partitions[0]?.batches.length, 1);
    assert.ok(answer.partitions[1]?.error, "there is no such partition");
    assert.ok(FetchResponse.encode(answer).finish().length <= limits.messageBytesMax);
    await bench.clock.until(bench.agent.stop());
  });
});
