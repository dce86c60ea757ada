/**
 * The far end of the raw gRPC limit, run as a process of its own: takes messages and forgets them.
 */
import { createServer } from "nice-grpc";
import { serverChannelOptions, serverCredentials } from "../src/rpc/channel.ts";
import { Http2Gate } from "../src/rpc/http2-gate.ts";
import { rawService } from "./raw-service.ts";

// The agent's own gate, for the same windows.
const gate = new Http2Gate({
  connected: () => true,
  disconnected: () => {},
  called: () => () => {},
  listenFailed: (error) => {
    throw error;
  },
});
const server = createServer(gate.serverOptions(serverChannelOptions()));
server.add(rawService, {
  async push(messages: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
    let bytes = 0;
    for await (const message of messages) bytes += message.length;
    return new TextEncoder().encode(String(bytes));
  },
});
const port = await server.listen("127.0.0.1:0", serverCredentials());
process.once("SIGTERM", () => {
  server.forceShutdown();
  gate.destroyConnections();
});
// Last: whoever waits for this line may send SIGTERM at once.
process.stdout.write(`${JSON.stringify({ event: "ready", grpc: `127.0.0.1:${port}` })}\n`);
