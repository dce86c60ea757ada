/**
 * The one place that reaches into the HTTP/2 server under a gRPC server: its windows, its connections, its calls as they are on the
 * wire, and the differences between runtimes. It reads and changes no message. Used by `agent/server.ts`.
 *
 * grpc-js makes its `http2` server by itself and has no option for these settings (1.14.7: `createHttp2Server` in
 * build/src/server.js), and nice-grpc makes the grpc-js `Server` by itself. So that method is wrapped, once, and acts only
 * on servers whose options carry a gate: every other gRPC server of the process stays as it was.
 */
import type * as http2 from "node:http2";
import type { Socket } from "node:net";
import { type ChannelOptions, Server } from "@grpc/grpc-js";
import { StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";

/** What a gate tells. The calls are made from HTTP/2 events and must not throw. */
export interface Http2GateListener {
  /** A client connected. Answers false to refuse it. */
  connected(): boolean;
  /** A connection that was let in is gone. Called once for each. */
  disconnected(): void;
  /**
   * A call came: of whatever path, known or not. Answers what to do at its end; that is called once, with the gRPC status that
   * was sent, or undefined if none was (the client cancelled, or the connection broke).
   */
  called(path: string): (grpcStatus: number | undefined) => void;
  /** An address could not be listened on. */
  listenFailed(error: NodeJS.ErrnoException): void;
}

/** Told of a client that did not come through the TLS handshake: its certificate was missing or refused, or it speaks no TLS. */
export type HandshakeListener = (error: Error, from: string | undefined) => void;

/** HTTP/2 error code (RFC 9113 section 7): the peer asks for too much. */
const ENHANCE_YOUR_CALM = 0xb;
const gateKey = Symbol("@streamhouse/streamhouse http2 gate");
let isWrapped = false;

/** The HTTP/2 side of one gRPC server. */
export class Http2Gate {
  readonly #listener: Http2GateListener;
  readonly #handshakeFailed: HandshakeListener;
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  /** Under TLS: the sockets below the sessions, and those that have not come so far. */
  readonly #sockets = new Set<Socket>();

  constructor(listener: Http2GateListener, handshakeFailed: HandshakeListener = () => {}) {
    this.#listener = listener;
    this.#handshakeFailed = handshakeFailed;
    wrapCreateHttp2Server();
  }

  /** Options for grpc-js's `Server` or nice-grpc's `createServer` that put the server behind this gate. */
  serverOptions(options: ChannelOptions): ChannelOptions {
    return { ...options, [gateKey]: this } as ChannelOptions;
  }

  get connections(): number {
    return this.#sessions.size;
  }

  /**
   * Breaks every connection that is still open, and resolves when they are gone (without channelz, grpc-js's own
   * `forceShutdown` leaves them open).
   */
  async destroyConnections(): Promise<void> {
    const gone = [...this.#sessions].map(
      (session) => new Promise<void>((resolve) => session.once("close", resolve)),
    );
    for (const session of [...this.#sessions]) session.destroy();
    // A server waits for connections in the middle of a handshake, too.
    for (const socket of [...this.#sockets]) socket.destroy();
    await Promise.all(gone);
  }

  /** Called with each HTTP/2 server that grpc-js makes: one for each address it listens on. */
  watch(server: http2.Http2Server): void {
    server.on("error", (error: NodeJS.ErrnoException) => this.#listener.listenFailed(error));
    server.on("session", (session) => this.#watchSession(session));
    server.on("connection", (socket: Socket) => this.#watchSocket(server, socket));
    server.on("tlsClientError", (error: Error, socket: Socket) => {
      this.#handshakeFailed(error, socket.remoteAddress);
    });
    // Before grpc-js's own listener, which answers calls of unknown methods at once.
    server.prependListener("stream", (stream, headers) => this.#watchStream(stream, headers));
  }

  #watchSocket(server: http2.Http2Server, socket: Socket): void {
    // Without TLS a connection is a session at once.
    if (!("setSecureContext" in server)) return;
    // What has not shaken hands yet is no connection to the listener, and must not be without a limit for it.
    if (this.#sockets.size - this.#sessions.size >= limits.connectionsMax) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  #watchSession(session: http2.ServerHttp2Session): void {
    // Deno 2.9.4 to 2.9.6 abort the process when a client's GOAWAY finds no listener:
    // https://github.com/denoland/deno/issues/36788
    session.on("goaway", () => {});
    if (!this.#listener.connected()) {
      session.destroy(undefined, ENHANCE_YOUR_CALM);
      return;
    }
    this.#sessions.add(session);
    callBackAlways(session);
    session.once("close", () => {
      this.#sessions.delete(session);
      this.#listener.disconnected();
    });
    // The connection's own window is no setting: 64 KiB for all its streams together, unless raised by hand.
    session.setLocalWindowSize(limits.http2WindowBytes);
  }

  #watchStream(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void {
    const ended = this.#listener.called(String(headers[":path"] ?? ""));
    let status: number | undefined;
    const note = (sent: unknown) => {
      const value = (sent as http2.OutgoingHttpHeaders | undefined)?.["grpc-status"];
      if (value !== undefined) status = Number(value);
    };
    // Whoever decides on a status (a handler, a deadline, a message that is too large, an unknown method), it leaves
    // through one of these two.
    const { respond, sendTrailers } = stream;
    stream.respond = (sent, options) => {
      note(sent);
      respond.call(stream, sent, options);
    };
    stream.sendTrailers = (sent) => {
      note(sent);
      sendTrailers.call(stream, sent);
    };
    stream.once("close", () => ended(status));
  }
}

/**
 * `close(callback)` of a session that is destroyed, and has not said so yet, returns without ever calling back (Node 24.21 and
 * before), and grpc-js waits for that: a shutdown just when a client's first bytes were no HTTP/2 never ended.
 */
function callBackAlways(session: http2.ServerHttp2Session): void {
  const { close } = session;
  session.close = (callback) => {
    if (callback !== undefined && (session.destroyed || session.closed)) {
      session.once("close", callback);
    } else close.call(session, callback);
  };
}

/** The part of grpc-js's `Server` that is not in its types. */
interface GrpcServerInternals {
  readonly options: { readonly [gateKey]?: Http2Gate };
  readonly commonServerOptions: { settings?: http2.Settings };
  createHttp2Server(credentials: unknown): http2.Http2Server;
}

function wrapCreateHttp2Server(): void {
  if (isWrapped) return;
  const prototype = Server.prototype as unknown as GrpcServerInternals;
  const original = prototype.createHttp2Server;
  if (typeof original !== "function") {
    throw new StreamHouseError({
      code: "INTERNAL",
      kind: "internal",
      message: "this @grpc/grpc-js makes its HTTP/2 server in another way: install 1.14.7",
    });
  }
  isWrapped = true;
  prototype.createHttp2Server = function (this: GrpcServerInternals, credentials) {
    const gate = this.options[gateKey];
    if (gate === undefined) return original.call(this, credentials);
    // The window of each stream. With the default, 64 KiB, a message of 1 MiB waits for the other end 16 times.
    this.commonServerOptions.settings = {
      ...this.commonServerOptions.settings,
      initialWindowSize: limits.http2WindowBytes,
    };
    const server = original.call(this, credentials);
    gate.watch(server);
    return server;
  };
}
