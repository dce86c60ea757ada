/** A store without room: senders are told, nothing is half-written, and all goes on when there is room again. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createAgent } from "../../src/agent/agent.ts";
import { createCluster } from "../../src/client/cluster.ts";
import { createInProcessTransport } from "../../src/client/in-process-transport.ts";
import { systemClock } from "../../src/core/clock.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import { createUlid, systemRandom } from "../../src/core/ids.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { NO_PRODUCER, RecordBatchBuilder } from "../../src/format/batch-builder.ts";
import { createHouse } from "../../src/house/house.ts";
import { openFolderStores } from "../../src/serve/stores.ts";
import { Teardown } from "../../src/serve/teardown.ts";
import type { SegmentSink } from "../../src/storage/segment-sink.ts";
import { temporaryFolder } from "./ways.ts";

/** A sink in front of the folder's that has no room when it is told so. */
function fillableSink(sink: SegmentSink): { readonly sink: SegmentSink; full: boolean } {
  const state = {
    full: false,
    sink: {
      concurrency: sink.concurrency,
      append: (...args: Parameters<SegmentSink["append"]>) => {
        if (!state.full) return sink.append(...args);
        return Promise.reject(
          new StreamHouseError({
            code: "STORE_FULL",
            kind: "unavailable",
            message: "no space left on the device: make room",
          }),
        );
      },
      close: () => sink.close(),
    },
  };
  return state;
}

describe("a full disk", () => {
  it("fails what is sent with the reason, loses nothing that was acknowledged, and ends when there is room", async () => {
    const folder = await temporaryFolder();
    const shared = { clock: systemClock, random: systemRandom, logger: silentLogger };
    const teardown = new Teardown(silentLogger);
    const runId = createUlid(Date.now());
    const opening = { ...shared, runId, teardown };
    const stores = await openFolderStores(folder.path, opening);
    const disk = fillableSink(stores.sink);
    const { metadata, store } = stores;
    const agent = createAgent(
      { ...shared, metadata, store, sink: disk.sink, telemetry: false },
      { runId, predecessorsDead: true },
    );
    teardown.add("agent", () => agent.stop());
    await agent.start();
    const cluster = createCluster(createInProcessTransport(agent.api, shared), shared);
    const context = { ...shared, cluster, clientId: "test", telemetry: false as const };
    const house = createHouse({ context, release: () => teardown.unwind() });

    const { id } = await house.admin.createTopic("full", { partitions: 2 });
    const producer = house.producer({ retryBackoffMs: 10 });
    const send = (value: string) => producer.send({ topic: "full", partition: 0, value });
    assert.equal((await send("before")).offset, 0);

    disk.full = true;
    const builder = new RecordBatchBuilder({ compression: "none", bytesMax: 1_000 });
    builder.append({ key: null, value: null, headers: [], timestamp: 0 });
    const records = await builder.seal(NO_PRODUCER);
    const batches = [{ topic: "full", topicId: id, partition: 1, records }];
    await assert.rejects(agent.api.produce({ acks: 1, batches, timeoutMs: 30_000 }, {}), {
      code: "STORE_FULL",
      outcome: "none",
      message: /no space left on the device/,
    });
    const impatient = house.producer({ deliveryTimeoutMs: 1_500, retryBackoffMs: 10 });
    const refused = impatient.send({ topic: "full", partition: 1, value: "too late" });
    await assert.rejects(refused, { code: "DEADLINE_EXCEEDED", message: /no space left/ });
    // Sent while the disk is full, acknowledged when it no longer is.
    const waiting = send("waits");
    disk.full = false;
    assert.equal((await waiting).offset, 1);
    assert.equal((await send("after")).offset, 2);
    const assign = [{ topic: "full", partition: 0, offset: 0 }];
    const consumer = house.consumer({ assign });
    const values: string[] = [];
    for await (const record of consumer) {
      values.push(record.text());
      if (values.length === 3) break;
    }
    assert.deepEqual(values, ["before", "waits", "after"]);
    await house.close();
    await folder.remove();
  });
});
