/** What probes are told of a whole agent process, over HTTP and gRPC, from before it can serve until it is gone. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Client, credentials } from "@grpc/grpc-js";
import { systemClock } from "../../src/core/clock.ts";
import { type Logger, silentLogger } from "../../src/core/logger.ts";
import { createSqliteMetadata } from "../../src/metadata/sqlite.ts";
import { serve } from "../../src/serve/serve.ts";
import { createMemoryStore } from "../../src/storage/memory.ts";
import { withFaults } from "../fault/faulty-metadata.ts";
import { batchOf } from "../unit/agent/bench-agent.ts";

const SERVING = 1;
const NOT_SERVING = 2;

/** Of the whole server, as `grpc_health_probe` asks. */
function health(address: string, service = ""): Promise<number> {
  const client = new Client(address, credentials.createInsecure());
  const identity = (bytes: Buffer) => bytes;
  const name = Buffer.from(service);
  const body = service === "" ? Buffer.alloc(0) : Buffer.from([10, name.length, ...name]);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      ...(["/grpc.health.v1.Health/Check", identity, identity, body] as const),
      { deadline: Date.now() + 20_000 },
      (error, answer) => {
        client.close();
        if (error === null) resolve(answer?.[1] ?? 0);
        else reject(error);
      },
    );
  });
}

async function ready(url: string): Promise<readonly unknown[]> {
  const response = await fetch(`${url}/ready`);
  const { reasons } = (await response.json()) as { readonly reasons: readonly string[] };
  return [response.status, ...reasons];
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 3_000; i++) {
    if (isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`never came true: ${what}`);
}

describe("probes of an agent process", () => {
  it("are told that it does not serve until it does, and from the beginning of its end", async () => {
    const inner = createSqliteMetadata({ path: ":memory:", clock: systemClock });
    const { metadata, faults } = withFaults(inner);
    const store = createMemoryStore({ clock: systemClock });
    const [hold, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let isSlow = false;
    const slow = {
      ...{ kind: "memory", close: () => store.close() },
      get: store.get.bind(store),
      head: store.head.bind(store),
      list: store.list.bind(store),
      delete: store.delete.bind(store),
      put: async (...args: Parameters<typeof store.put>) => {
        if (isSlow) {
          held.resolve();
          await hold.promise;
        }
        await store.put(...args);
      },
    };
    const said = new Map<string, unknown>();
    const info: Logger["info"] = (message, fields) => {
      said.set(message, fields?.address ?? fields?.url);
    };
    faults.next.startRun = ["hold"];
    const starting = serve({
      ...{ metadata, store: slow, telemetry: false, readiness: "standby" },
      ...{ grpc: "127.0.0.1:0", http: "127.0.0.1:0", logger: { ...silentLogger, info } },
    });
    await until("it listens and registers its run", () => faults.held === 1);
    const grpc = String(said.get("gRPC server listens"));
    const http = String(said.get("HTTP endpoint listens"));
    assert.deepEqual(await ready(http), [503, "the agent is starting"]);
    for (const service of ["", "streamhouse.v1.ProducerService"]) {
      assert.equal(await health(grpc, service), NOT_SERVING);
    }
    faults.release();
    const served = await starting;
    assert.deepEqual(await ready(http), [200]);
    for (const service of ["", "streamhouse.v1.ProducerService"]) {
      assert.equal(await health(grpc, service), SERVING);
    }
    // It ends with a flush in its hands: it finishes that first.
    const { topic } = await served.agent.api.createTopic(
      { name: "t", partitions: 1, retentionMs: 0 },
      {},
    );
    assert.ok(topic);
    isSlow = true;

    const records = batchOf(["x"], undefined, Date.now());
    const batches = [{ topic: "t", topicId: "", partition: 0, records }];
    const sent = served.agent.api.produce({ acks: 1, timeoutMs: 20_000, batches }, {});
    await held.promise;
    const stopped = served.stop();
    assert.deepEqual(await ready(http), [503, "the agent is draining"]);
    assert.equal(await health(grpc), NOT_SERVING);
    hold.resolve();
    assert.equal((await sent).results[0]?.baseOffset, 0);
    await stopped;
    await inner.close();
    await store.close();
  });
});
