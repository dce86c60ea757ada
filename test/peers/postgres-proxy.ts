/**
 * A TCP proxy in front of PostgreSQL that breaks connections at the moment a test wants: after a statement has arrived and before its
 * answer does, or with a statement still on its way, which arrives later.
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  /** What the client sent and the server has not got. */
  readonly held: Uint8Array[];
}

/**
 * `open` · `loseAnswers` the server does what it is asked, and the connection breaks instead of the answer · `hold` nothing goes on to the
 * server · `silent` nothing goes either way, and nothing breaks.
 */
type Mode = "open" | "loseAnswers" | "hold" | "silent";

export class PostgresProxy {
  readonly #server: Server;
  readonly #port: number;
  readonly #links = new Set<Link>();
  /** Cut off from their clients; the server does not know yet. */
  readonly #cutOff = new Set<Link>();
  mode: Mode = "open";
  /** So many connections break when their client has said its first words. */
  breaks = 0;
  /** Connections that were made so far. */
  connections = 0;

  private constructor(port: number) {
    this.#port = port;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async start(port: number): Promise<PostgresProxy> {
    const proxy = new PostgresProxy(port);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  /** The same database through this proxy. */
  urlOf(url: string): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy is closed");
    return url.replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${address.port}`);
  }

  /** Bytes of clients that wait for `deliver`. */
  get heldBytes(): number {
    const links = [...this.#links, ...this.#cutOff];
    return links.flatMap((it) => it.held).reduce((sum, it) => sum + it.length, 0);
  }

  /** Breaks every connection for its client; for the server it lives on, as behind a network that lost its way. */
  cutOff(): void {
    for (const link of this.#links) {
      this.#links.delete(link);
      this.#cutOff.add(link);
      link.client.destroy();
    }
  }

  /** What was held arrives after all. */
  deliver(): void {
    for (const link of [...this.#links, ...this.#cutOff]) {
      for (const bytes of link.held.splice(0)) link.server.write(bytes);
    }
  }

  async stop(): Promise<void> {
    this.#server.close();
    for (const { client, server } of [...this.#links, ...this.#cutOff]) {
      client.destroy();
      server.destroy();
    }
    await once(this.#server, "close");
  }

  #accept(client: Socket): void {
    this.connections++;
    const server = connect(this.#port, "127.0.0.1");
    const link: Link = { client, server, held: [] };
    this.#links.add(link);
    client.setNoDelay(true);
    server.setNoDelay(true);
    client.on("error", () => {});
    server.on("error", () => {});
    client.on("data", (bytes) => {
      if (this.breaks > 0) {
        this.breaks--;
        client.destroy();
      } else if (this.mode === "hold" || this.mode === "silent") link.held.push(bytes);
      else server.write(bytes);
    });
    server.on("data", (bytes) => {
      if (this.mode === "loseAnswers") client.destroy();
      else if (this.mode !== "silent") client.write(bytes);
    });
    client.on("close", () => {
      if (this.#links.delete(link)) server.destroy();
    });
    server.on("close", () => {
      this.#links.delete(link);
      this.#cutOff.delete(link);
      client.destroy();
    });
  }
}
