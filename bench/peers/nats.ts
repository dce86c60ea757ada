/**
 * NATS JetStream: file storage, one stream for each partition, asynchronous publishing with a window. The server is built from its
 * Go module; the client is `@nats-io/jetstream`.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { BoundProcess, freePorts } from "../../scripts/backends/bound-process.ts";
import { peerProgram, whyNoPeers } from "../../scripts/peers.ts";
import { type Peer, type PeerSetup, streamName, windowed } from "./peer.ts";

/** Unanswered publications: more did not help. */
const WINDOW = 5_000;

/** Messages that a reader asks for ahead. */
const READ_AHEAD = 10_000;

export type NatsSync = "default" | "always";

export function natsSetup(sync: NatsSync): PeerSetup {
  const durable =
    sync === "always"
      ? "sync_interval always: a record is fsynced before its answer"
      : "default sync: a record is in the page cache at its answer, and fsynced within two minutes";
  return {
    name: sync === "always" ? "nats-jetstream-sync" : "nats-jetstream",
    note: `NATS JetStream, file storage, ${durable}; package @nats-io/jetstream`,
    missing: whyNoPeers,
    open: (folder) => openNats(folder, sync),
  };
}

async function openNats(folder: string, sync: NatsSync): Promise<Peer> {
  const program = await peerProgram("nats");
  const [port = 0] = await freePorts(1);
  const interval = sync === "always" ? "\n  sync_interval: always" : "";
  const config = join(folder, "nats.conf");
  writeFileSync(
    config,
    `listen: "127.0.0.1:${port}"\njetstream {\n  store_dir: ${JSON.stringify(folder)}${interval}\n}\n`,
  );
  const server = new BoundProcess(program, ["-c", config]);
  await server.until("its port", 30_000, async () => server.output.includes("Server is ready"));
  const connection = await connect({ servers: `127.0.0.1:${port}` });
  const client = jetstream(connection);
  const manager = await jetstreamManager(connection);
  const partitionsOf = new Map<string, number>();
  let turn = 0;
  const publish = (topic: string, value: Uint8Array) =>
    client.publish(streamName(topic, turn++ % (partitionsOf.get(topic) ?? 1)), value);

  /** Reads all streams of a topic until `isOver`, from the start or what is new. */
  const consume = async (
    topic: string,
    policy: DeliverPolicy,
    onValue: (value: Uint8Array) => void,
  ): Promise<() => Promise<void>> => {
    const consumers = await Promise.all(
      Array.from({ length: partitionsOf.get(topic) ?? 1 }, (_, i) =>
        client.consumers.get(streamName(topic, i), { deliver_policy: policy }),
      ),
    );
    const readings = await Promise.all(
      consumers.map((it) =>
        it.consume({ max_messages: READ_AHEAD, callback: ({ data }) => onValue(data) }),
      ),
    );
    return async () => {
      await Promise.all(readings.map((it) => it.close()));
    };
  };

  return {
    async createTopic(topic, partitions) {
      partitionsOf.set(topic, partitions);
      for (let i = 0; i < partitions; i++) {
        const name = streamName(topic, i);
        await manager.streams.add({ name, subjects: [name] });
      }
    },
    sendMany: (topic, chunks) => windowed(chunks.flat(), WINDOW, (value) => publish(topic, value)),
    sendOne: publish,
    async readAll(topic, count) {
      const done = Promise.withResolvers<void>();
      let read = 0;
      let bytes = 0;
      const end = await consume(topic, DeliverPolicy.All, (value) => {
        bytes += value.length;
        if (++read === count) done.resolve();
      });
      await done.promise;
      await end();
      return bytes;
    },
    follow: (topic, onValue) => consume(topic, DeliverPolicy.New, onValue),
    async close() {
      await connection.close();
      await server.kill();
    },
  };
}
