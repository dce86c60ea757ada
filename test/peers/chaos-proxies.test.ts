/** The proxies of chaos runs do to a connection what they say, and nothing else. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { connect, createServer, type Server, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { createSeeded } from "../../scripts/chaos/seeded.ts";
import { StoreProxy, type StoreTrouble } from "../../scripts/chaos/store-proxy.ts";
import { TcpProxy } from "../../scripts/chaos/tcp-proxy.ts";
import { eventually } from "../integration/child.ts";

/** A client's end of a connection through the proxy to a server that sends everything back. */
class Line {
  readonly socket: Socket;
  received = "";
  broken = false;

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.setEncoding("utf8").on("data", (text: string) => {
      this.received += text;
    });
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.broken = true;
    });
  }

  async says(text: string): Promise<void> {
    this.socket.write(text);
    await eventually(`the echo of ${text}`, () => this.received.endsWith(text));
  }
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

describe("the TCP proxy of a chaos run", () => {
  let echoed = "";
  const echo = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes: Uint8Array) => {
      echoed += new TextDecoder().decode(bytes);
    });
    socket.pipe(socket);
  });
  let proxy: TcpProxy;

  before(async () => {
    echo.listen(0, "127.0.0.1");
    await once(echo, "listening");
    proxy = await TcpProxy.start("127.0.0.1", portOf(echo));
  });

  after(async () => {
    await proxy.stop();
    await once(echo.close(), "close");
  });

  it("passes everything on in both directions, and the end too", async () => {
    const line = new Line(proxy.port);
    await line.says("hello");
    line.socket.end();
    await eventually("the end", () => line.broken);
  });

  it("cuts what is open, and refuses what comes until it is open again", async () => {
    const line = new Line(proxy.port);
    await line.says("hello");
    proxy.set("cut");
    await eventually("the cut", () => line.broken);
    const refused = new Line(proxy.port);
    await eventually("the refusal", () => refused.broken);
    proxy.set("open");
    const again = new Line(proxy.port);
    await again.says("again");
    again.socket.destroy();
  });

  it("holds what is sent, and delivers it when it is open again", async () => {
    const line = new Line(proxy.port);
    await line.says("hello");
    proxy.set("held");
    line.socket.write("later");
    await eventually("bytes that are held", () => proxy.heldBytes === 5);
    assert.equal(line.received, "hello");
    assert.ok(proxy.holds("ate") && !proxy.holds("early"));
    proxy.set("open");
    await eventually("what was held", () => line.received === "hellolater");
    line.socket.destroy();
  });

  it("swallows what is sent while it is silent, and breaks the connection afterwards", async () => {
    const line = new Line(proxy.port);
    await line.says("hello");
    proxy.set("silent");
    line.socket.write("never");
    await eventually("bytes that are swallowed", () => proxy.heldBytes === 5);
    proxy.set("open");
    await eventually("the end", () => line.broken);
    assert.equal(line.received, "hello");
  });

  it("holds only what comes back", async () => {
    const line = new Line(proxy.port);
    await line.says("hello");
    proxy.set("deaf");
    line.socket.write("there");
    await eventually("bytes that got there", () => echoed.endsWith("there"));
    assert.equal(line.received, "hello");
    proxy.set("open");
    await eventually("what was held", () => line.received === "hellothere");
    line.socket.destroy();
  });

  it("slows down and keeps order", async () => {
    const line = new Line(proxy.port);
    await line.says("1");
    proxy.set("slow", 30);
    line.socket.write("2");
    line.socket.write("3");
    await eventually("the echo", () => line.received === "123");
    proxy.set("open");
    await line.says("4");
    line.socket.destroy();
  });
});

describe("the proxy in front of the store of a chaos run", () => {
  let served = 0;
  const store = createHttpServer((request, response) => {
    let length = 0;
    request.on("data", (bytes: Uint8Array) => {
      length += bytes.length;
    });
    request.on("end", () => {
      served += 1;
      response.end(`${request.method} ${request.headers.host} ${length} ${"x".repeat(1_000)}`);
    });
  });
  let proxy: StoreProxy;

  const put = () =>
    fetch(`http://127.0.0.1:${proxy.port}/bucket/key`, { method: "PUT", body: "12345" });

  /** Until one request was troubled, as the seed chooses them. */
  async function meetTrouble(what: StoreTrouble): Promise<Response | undefined> {
    proxy.begin(what, createSeeded(1));
    const before = proxy.troubled;
    for (;;) {
      const answer = await put().catch(() => undefined);
      if (proxy.troubled > before) return answer;
      await answer?.text();
    }
  }

  before(async () => {
    store.listen(0, "127.0.0.1");
    await once(store, "listening");
    proxy = await StoreProxy.start(`http://127.0.0.1:${portOf(store)}`);
  });

  after(async () => {
    await proxy.stop();
    store.closeAllConnections();
    await once(store.close(), "close");
  });

  it("passes requests with their bodies, and the host that they were signed for", async () => {
    const answer = await put();
    assert.match(await answer.text(), new RegExp(`^PUT 127.0.0.1:${proxy.port} 5 x`));
  });

  for (const status of [503, 500] as const) {
    it(`answers ${status} in the server's place, and is well again when healed`, async () => {
      const answer = await meetTrouble(status);
      assert.equal(answer?.status, status);
      proxy.heal();
      assert.equal((await put()).status, 200);
    });
  }

  it("does so before and after the server did its work", async () => {
    proxy.begin(503, createSeeded(2));
    const before = served;
    const troubledBefore = proxy.troubled;
    for (let i = 0; i < 40; i++) await (await put()).text();
    proxy.heal();
    const troubled = proxy.troubled - troubledBefore;
    const worked = served - before - (40 - troubled);
    assert.ok(worked > 0 && worked < troubled, `${worked} of ${troubled} had worked`);
  });

  it("lets a request wait for ever, until it is healed and the connection breaks", async () => {
    proxy.begin("timeout", createSeeded(3));
    const before = proxy.troubled;
    const outcomes: string[] = [];
    while (proxy.troubled === before) {
      void put().then(
        () => outcomes.push("answered"),
        () => outcomes.push("broken"),
      );
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    proxy.heal();
    await eventually("the end of the wait", () => outcomes.includes("broken"));
  });

  it("breaks answers or uploads off half-way", async () => {
    const answer = await meetTrouble("broken");
    await assert.rejects(async () => {
      if (answer === undefined) throw new Error("the connection broke");
      await answer.text();
    });
    proxy.heal();
  });
});
