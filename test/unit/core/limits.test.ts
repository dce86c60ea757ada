import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { limits } from "../../../src/core/limits.ts";
import { NO_PRODUCER, RecordBatchBuilder } from "../../../src/format/batch-builder.ts";
import { resolveProducerOptions } from "../../../src/producer/options.ts";

describe("limits", () => {
  it("are positive whole numbers that JavaScript holds exactly", () => {
    for (const [name, value] of Object.entries(limits)) {
      assert.ok(Number.isSafeInteger(value) && value > 0, name);
    }
    assert.equal(limits.offsetMax, Number.MAX_SAFE_INTEGER);
  });

  it("let the largest record into a batch, alone and uncompressed", async () => {
    const builder = new RecordBatchBuilder({ compression: "none", bytesMax: 1 });
    const overhead = 64;
    const value = new Uint8Array(limits.recordBytesMax - overhead);
    assert.notEqual(builder.append({ key: null, value, headers: [], timestamp: 0 }), undefined);
    const batch = await builder.seal(NO_PRODUCER);
    assert.ok(batch.length <= limits.batchBytesMax, `${batch.length}`);
  });

  it("let a batch into a request, and a full request with 64 KiB of framing into a message", () => {
    assert.ok(limits.batchBytesMax <= limits.requestBytesMax);
    assert.equal(limits.messageBytesMax, limits.requestBytesMax + 65_536);
    assert.ok(
      limits.http2WindowBytes >= limits.requestBytesMax,
      "a request needs no second window",
    );
  });

  it("let a request into the agent's buffer and into a file", () => {
    assert.ok(limits.agentBufferBytesMax >= 2 * limits.requestBytesMax);
    assert.ok(limits.segmentFileBytesMax >= limits.requestBytesMax);
    assert.ok(limits.decompressedBytesMax >= limits.batchBytesMax);
  });

  it("remember as many sequences as a producer may have on their way", () => {
    const most = limits.sequencesRememberedPerProducer;
    assert.equal(resolveProducerOptions({ inFlight: most }).inFlight, most);
    assert.throws(() => resolveProducerOptions({ inFlight: most + 1 }), /inFlight/);
    assert.ok(most <= limits.inFlightPerConnectionMax);
  });
});
