/** Redis Streams: XADD with pipelining, XREAD, one stream for each partition. Debian's `redis-server`, the `redis` package. */
import { spawnSync } from "node:child_process";
import { createClient, RESP_TYPES } from "redis";
import { BoundProcess, freePorts } from "../../scripts/backends/bound-process.ts";
import { type Peer, type PeerSetup, streamName } from "./peer.ts";

/** Records of one XREAD, and of one pipeline that is written at once. */
const READ_COUNT = 5_000;

/** Pipelines that may be unanswered. */
const PIPELINES = 4;

export type RedisSync = "everysec" | "always";

export function redisSetup(sync: RedisSync): PeerSetup {
  const durable = sync === "always" ? "fsynced before its answer" : "fsynced within a second";
  return {
    name: `redis-${sync}`,
    note: `Redis Streams, appendfsync ${sync}: a record is ${durable}; package redis`,
    missing: () =>
      spawnSync("redis-server", ["--version"]).status === 0
        ? undefined
        : "redis-server is not installed (Debian: apt-get install redis-server)",
    open: (folder) => openRedis(folder, sync),
  };
}

async function openRedis(folder: string, sync: RedisSync): Promise<Peer> {
  const [port = 0] = await freePorts(1);
  const server = new BoundProcess(
    "redis-server",
    [
      ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""],
      ...["--appendonly", "yes", "--appendfsync", sync],
    ],
    { cwd: folder },
  );
  await server.until("its port", 30_000, async () => server.output.includes("Ready to accept"));
  const url = `redis://127.0.0.1:${port}`;
  const connect = async () => {
    const client = createClient({ url, RESP: 2 });
    await client.connect();
    // Values are bytes: text would be decoded, and not come back as it was.
    return client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  };
  const client = await connect();
  const partitionsOf = new Map<string, number>();
  let turn = 0;
  const partitions = (topic: string) => partitionsOf.get(topic) ?? 1;
  const add = (topic: string, value: Uint8Array) =>
    client.xAdd(streamName(topic, turn++ % partitions(topic)), "*", { v: bufferOf(value) });
  return {
    async createTopic(topic, count) {
      partitionsOf.set(topic, count);
    },
    async sendMany(topic, chunks) {
      const open: Promise<unknown>[] = [];
      for (const chunk of chunks) {
        // Commands of one turn of the event loop are one pipeline.
        open.push(Promise.all(chunk.map((value) => add(topic, value))));
        if (open.length >= PIPELINES) await open.shift();
        else await new Promise(setImmediate);
      }
      await Promise.all(open);
    },
    sendOne: add,
    async readAll(topic, count) {
      const positions = positionsOf(topic, partitions(topic));
      let read = 0;
      let bytes = 0;
      while (read < count) {
        const answer = await client.xRead(positions, { COUNT: READ_COUNT });
        read += take(answer, positions, (value) => {
          bytes += value.length;
        });
      }
      return bytes;
    },
    async follow(topic, onValue) {
      const reader = await connect();
      const positions = positionsOf(topic, partitions(topic));
      for (const at of positions) {
        const last = await client.xRevRange(at.key, "+", "-", { COUNT: 1 });
        at.id = last?.[0]?.id.toString() ?? "0";
      }
      let ended = false;
      const reading = (async () => {
        while (!ended) {
          take(
            await reader.xRead(positions, { COUNT: READ_COUNT, BLOCK: 100 }),
            positions,
            onValue,
          );
        }
      })();
      return async () => {
        ended = true;
        await reading;
        reader.destroy();
      };
    },
    async close() {
      client.destroy();
      await server.kill();
    },
  };
}

interface StreamAnswer {
  readonly name: Buffer;
  readonly messages: readonly {
    readonly id: Buffer;
    readonly message: Readonly<Record<string, Buffer>>;
  }[];
}

/** Where the next XREAD goes on in a stream. */
interface Position {
  readonly key: string;
  id: string;
}

function positionsOf(topic: string, partitions: number): Position[] {
  return Array.from({ length: partitions }, (_, i) => ({ key: streamName(topic, i), id: "0" }));
}

/** Hands the values on, moves the positions, and answers how many records there were. */
function take(
  answer: unknown,
  positions: readonly Position[],
  onValue: (value: Uint8Array) => void,
): number {
  let read = 0;
  for (const { name, messages } of (answer ?? []) as readonly StreamAnswer[]) {
    for (const { message } of messages) onValue(message.v ?? new Uint8Array());
    read += messages.length;
    const key = name.toString();
    const at = positions.find((it) => it.key === key);
    if (at !== undefined) at.id = messages.at(-1)?.id.toString() ?? at.id;
  }
  return read;
}

function bufferOf(value: Uint8Array): Buffer {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
