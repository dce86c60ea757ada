/** What the gate does to a gRPC server of @grpc/grpc-js, and that it leaves the others alone. */
import assert from "node:assert/strict";
import { connect, createSecureServer, type Settings } from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import { describe, it } from "node:test";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { limits } from "../../../src/core/limits.ts";
import { serverChannelOptions } from "../../../src/rpc/channel.ts";
import { Http2Gate, type Http2GateListener } from "../../../src/rpc/http2-gate.ts";
import { makeCertificates } from "./certificates.ts";
import { until } from "./fake-agent.ts";

function watched() {
  const seen = { open: 0, total: 0, refused: 0, calls: [] as [string, number | undefined][] };
  const rules = { let: true };
  const listener: Http2GateListener = {
    connected() {
      if (!rules.let) {
        seen.refused++;
        return false;
      }
      seen.open++;
      seen.total++;
      return true;
    },
    disconnected() {
      seen.open--;
    },
    called: (path) => (status) => seen.calls.push([path, status]),
    listenFailed() {},
  };
  return { seen, rules, gate: new Http2Gate(listener) };
}

async function listen(options: object): Promise<{ server: Server; url: string }> {
  const server = new Server(options);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return { server, url: `http://127.0.0.1:${port}` };
}

describe("the HTTP/2 gate", () => {
  it("opens the windows of streams and of the connection", async () => {
    const { gate } = watched();
    const { server, url } = await listen(gate.serverOptions(serverChannelOptions()));
    const session = connect(url);
    const settings = await new Promise<Settings>((resolve) =>
      session.once("remoteSettings", resolve),
    );
    assert.equal(settings.initialWindowSize, limits.http2WindowBytes);
    assert.equal(settings.maxConcurrentStreams, limits.inFlightPerConnectionMax);
    await until(
      "the connection's window is open",
      () => (session.state.remoteWindowSize ?? 0) >= limits.http2WindowBytes,
    );
    session.destroy();
    server.forceShutdown();
  });

  it("leaves other servers of the process as they are", async () => {
    watched();
    const { server, url } = await listen({});
    const session = connect(url);
    const settings = await new Promise<Settings>((resolve) =>
      session.once("remoteSettings", resolve),
    );
    assert.notEqual(settings.initialWindowSize, limits.http2WindowBytes);
    session.destroy();
    server.forceShutdown();
  });

  it("counts connections, and breaks them when told to", async () => {
    const { gate, seen } = watched();
    const { server, url } = await listen(gate.serverOptions(serverChannelOptions()));
    const sessions = [connect(url), connect(url), connect(url)];
    for (const session of sessions) session.on("error", () => {});
    await until("all are there", () => seen.open === 3);
    assert.equal(gate.connections, 3);
    sessions[0]?.close();
    await until("one left", () => seen.open === 2);
    const gone = sessions.slice(1).map((it) => new Promise((resolve) => it.once("close", resolve)));
    await gate.destroyConnections();
    await Promise.all(gone);
    assert.deepEqual([seen.open, seen.total, gate.connections], [0, 3, 0]);
    server.forceShutdown();
  });

  it("refuses connections when its listener does", async () => {
    const { gate, seen, rules } = watched();
    rules.let = false;
    const { server, url } = await listen(gate.serverOptions(serverChannelOptions()));
    const session = connect(url);
    session.on("error", () => {});
    await new Promise((resolve) => session.once("close", resolve));
    assert.deepEqual([seen.refused, seen.open, gate.connections], [1, 0, 0]);
    server.forceShutdown();
  });

  it("survives a client's GOAWAY, and tells calls that broke from calls that were answered", async () => {
    const { gate, seen } = watched();
    const { server, url } = await listen(gate.serverOptions(serverChannelOptions()));
    const session = connect(url);
    session.on("error", () => {});
    const head = { ":method": "POST", ":path": "/a.B/C", "content-type": "application/grpc" };
    const stream = session.request(head);
    stream.on("error", () => {});
    stream.end();
    stream.resume();
    await new Promise((resolve) => stream.once("close", resolve));
    session.goaway(0);
    session.destroy();
    await until("gone", () => seen.open === 0);
    assert.deepEqual(seen.calls, [["/a.B/C", 12]]);
    const again = connect(url);
    await until("another", () => seen.open === 1);
    again.destroy();
    server.forceShutdown();
  });

  it("breaks connections that are in the middle of a TLS handshake, too", async () => {
    const { gate } = watched();
    const { right } = await makeCertificates();
    const server = createSecureServer({ cert: right.cert, key: right.key });
    gate.watch(server);
    const accepted: Socket[] = [];
    server.on("connection", (socket: Socket) => accepted.push(socket));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { readonly port: number };
    const client = connectTcp(port, "127.0.0.1");
    client.on("error", () => {});
    await until("it is there", () => accepted.length === 1);
    assert.equal(gate.connections, 0);
    await gate.destroyConnections();
    assert.equal(accepted[0]?.destroyed, true);
    client.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
});
