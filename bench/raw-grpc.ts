/**
 * The network's limit: nice-grpc streaming 1 MiB messages one way, to another process, with the
 * agent's own windows.
 */
import { ChannelCredentials } from "@grpc/grpc-js";
import { type Channel, type Client, createChannel, createClient } from "nice-grpc";
import { clientChannelOptions } from "../src/rpc/channel.ts";
import { type Child, startChild } from "./child.ts";
import type { Contender, Sample } from "./contender.ts";
import { type RawService, rawService } from "./raw-service.ts";
import type { BenchSettings } from "./settings.ts";
import { secondsOf } from "./stopwatch.ts";

const MESSAGE_BYTES = 1_048_576;

export function rawGrpcContender(settings: BenchSettings): Contender {
  const messages = Math.ceil(settings.rawBytesPerRound / MESSAGE_BYTES);
  let server: Child | undefined;
  let channel: Channel | undefined;
  let client: Client<RawService> | undefined;
  return {
    name: "raw-grpc",
    unit: "MB/s",
    limits: [],
    note: `nice-grpc streaming ${messages} messages of 1 MiB one way to another process`,
    async prepare() {
      server = await startChild("bench/raw-grpc-server.ts", []);
      const credentials = ChannelCredentials.createInsecure();
      channel = createChannel(String(server.ready.grpc), credentials, clientChannelOptions());
      client = createClient(rawService, channel);
    },
    async round(): Promise<Sample> {
      if (client === undefined) throw new Error("round() before prepare()");
      return await push(client, messages);
    },
    async close() {
      channel?.close();
      await server?.stop();
    },
  };
}

async function push(client: Client<RawService>, messages: number): Promise<Sample> {
  const bytes = messages * MESSAGE_BYTES;
  const seconds = await secondsOf(async () => {
    const arrived = await client.push(repeated(new Uint8Array(MESSAGE_BYTES), messages));
    const text = new TextDecoder().decode(arrived);
    if (text !== String(bytes)) throw new Error(`${text} of ${bytes} bytes arrived`);
  });
  return { value: bytes / seconds / 1e6, bytesPerSecond: bytes / seconds };
}

async function* repeated(message: Uint8Array, times: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < times; i++) yield message;
}
