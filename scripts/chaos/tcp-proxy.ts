/**
 * A TCP proxy between one agent and one server, which can be told to break the way: cut it, let it go silent, hold what is sent and
 * deliver it later, or slow it down. Each agent has its own for the database and for S3, so that it is alone with its trouble.
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/**
 * `open` · `cut` connections are reset, new ones too · `silent` nothing gets through, and what is open breaks when that ends · `held`
 * nothing gets through until it ends, then all of it does · `deaf` only what comes back is held · `slow` everything arrives later by
 * `slowMs`.
 */
export type LinkState = "open" | "cut" | "silent" | "held" | "deaf" | "slow";

/** Bytes that wait in one direction before the sender is stopped. */
const waitingBytesMax = 4 * 1_048_576;

export class TcpProxy {
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #pairs = new Set<Pair>();
  #state: LinkState = "open";
  #slowMs = 0;

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#target = target;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async start(host: string, port: number): Promise<TcpProxy> {
    const proxy = new TcpProxy({ host, port });
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy is closed");
    return address.port;
  }

  /** Bytes on their way to the server that are held back now. */
  get heldBytes(): number {
    let bytes = 0;
    for (const pair of this.#pairs) bytes += pair.heldBytes;
    return bytes;
  }

  /** Whether this text is among what is held back on its way to the server, within one connection. */
  holds(text: string): boolean {
    return [...this.#pairs].some((it) => it.holds(text));
  }

  set(state: LinkState, slowMs = 0): void {
    const before = this.#state;
    this.#state = state;
    this.#slowMs = state === "slow" ? slowMs : 0;
    // What a silent way had swallowed never arrives: both ends find their connection broken.
    if (state === "cut" || (before === "silent" && state !== "silent")) this.#breakAll();
    for (const pair of this.#pairs) pair.pump();
  }

  async stop(): Promise<void> {
    this.#breakAll();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }

  #breakAll(): void {
    for (const pair of this.#pairs) pair.break();
  }

  #accept(socket: Socket): void {
    if (this.#state === "cut") {
      socket.resetAndDestroy();
      return;
    }
    const upstream = connect(this.#target.port, this.#target.host);
    const pair = new Pair(socket, upstream, () => {
      const both = this.#state === "open" || this.#state === "slow";
      return { there: both || this.#state === "deaf", back: both, slowMs: this.#slowMs };
    });
    this.#pairs.add(pair);
    pair.onEnd = () => this.#pairs.delete(pair);
  }
}

/** Whether anything gets there, and back, now. */
type Rules = () => { readonly there: boolean; readonly back: boolean; readonly slowMs: number };

/** Both directions of one connection. */
class Pair {
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #there: Direction;
  readonly #back: Direction;
  onEnd: () => void = () => {};

  constructor(client: Socket, upstream: Socket, rules: Rules) {
    this.#client = client;
    this.#upstream = upstream;
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      socket.on("error", () => this.break());
      socket.on("close", () => this.#closed());
    }
    this.#there = new Direction(client, upstream, rules, "there");
    this.#back = new Direction(upstream, client, rules, "back");
  }

  get heldBytes(): number {
    return this.#there.waitingBytes;
  }

  holds(text: string): boolean {
    return this.#there.holds(text);
  }

  pump(): void {
    this.#there.pump();
    this.#back.pump();
  }

  break(): void {
    reset(this.#client);
    reset(this.#upstream);
  }

  #closed(): void {
    // What one side had sent before it closed still has to reach the other.
    this.pump();
    if (this.#client.destroyed && this.#upstream.destroyed) this.onEnd();
    else if (this.#upstream.destroyed && this.#back.waitingBytes === 0) this.#client.destroy();
  }
}

/**
 * One whose end is on its way is destroyed: Node 24.21.0 takes a handle that cannot be reset because it is shutting down for closing and
 * never closes it, and a process that ends by itself then waits for that for ever, at full speed
 * (https://github.com/libp2p/js-libp2p/pull/3597 met the same).
 */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

/** What goes one way: in order, each piece not before its time. */
class Direction {
  readonly #to: Socket;
  readonly #from: Socket;
  readonly #rules: Rules;
  readonly #way: "there" | "back";
  readonly #waiting: { readonly bytes: Uint8Array | undefined; readonly at: number }[] = [];
  #timer: NodeJS.Timeout | undefined;
  waitingBytes = 0;

  constructor(from: Socket, to: Socket, rules: Rules, way: "there" | "back") {
    this.#from = from;
    this.#to = to;
    this.#rules = rules;
    this.#way = way;
    from.on("data", (bytes: Uint8Array) => this.#take(bytes));
    from.on("end", () => this.#take(undefined));
    to.on("drain", () => this.pump());
  }

  holds(text: string): boolean {
    const decoder = new TextDecoder("latin1");
    const bytes = this.#waiting.map((it) => decoder.decode(it.bytes ?? new Uint8Array(0)));
    return bytes.join("").includes(text);
  }

  pump(): void {
    const now = performance.now();
    while (this.#rules()[this.#way]) {
      const first = this.#waiting[0];
      if (first === undefined || first.at > now || this.#to.writableNeedDrain) break;
      this.#waiting.shift();
      if (first.bytes === undefined) this.#to.end();
      else {
        this.waitingBytes -= first.bytes.length;
        this.#to.write(first.bytes);
      }
    }
    if (this.waitingBytes < waitingBytesMax) this.#from.resume();
    this.#wakeLater(now);
  }

  /** Undefined: the sender has ended its side. */
  #take(bytes: Uint8Array | undefined): void {
    this.#waiting.push({ bytes, at: performance.now() + this.#rules().slowMs });
    this.waitingBytes += bytes?.length ?? 0;
    if (this.waitingBytes >= waitingBytesMax) this.#from.pause();
    this.pump();
  }

  #wakeLater(now: number): void {
    const first = this.#waiting[0];
    if (first === undefined || first.at <= now || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (!this.#to.destroyed) this.pump();
    }, first.at - now);
  }
}
