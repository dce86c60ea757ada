/** TLS between this runtime's own server and client: who is let in, who is told what, and that the settings below it hold. */
import assert from "node:assert/strict";
import { connect as connectHttp2, type Settings } from "node:http2";
import { connect as connectTcp } from "node:net";
import { before, describe, it } from "node:test";
import { createGrpcServer } from "../../../src/agent/server.ts";
import { createGrpcTransport } from "../../../src/client/grpc-transport.ts";
import { systemClock } from "../../../src/core/clock.ts";
import type { StreamHouseError } from "../../../src/core/errors.ts";
import { limits } from "../../../src/core/limits.ts";
import { type LogFields, silentLogger } from "../../../src/core/logger.ts";
import { certificateFacts, clientSecurity } from "../../../src/rpc/tls-gate.ts";
import type { ClientTls, ServerTls } from "../../../src/rpc/tls-options.ts";
import { type Certificates, makeCertificates, selfSigned } from "./certificates.ts";
import {
  batch,
  countingTelemetry,
  failureOf,
  fakeAgent,
  produceRequest,
  until,
} from "./fake-agent.ts";

const call = { timeoutMs: 20_000 };

interface Listening {
  readonly port: number;
  readonly warnings: LogFields[];
  renew(tls: ServerTls): void;
  /** Calls once, over a connection of its own. */
  ask(tls: ClientTls | boolean, host?: string): Promise<unknown>;
  stop(): Promise<void>;
}

async function listen(tls: ServerTls | undefined): Promise<Listening> {
  const warnings: LogFields[] = [];
  const logger = {
    ...silentLogger,
    warn: (_message: string, fields: LogFields = {}) => warnings.push(fields),
  };
  const agent = fakeAgent();
  const telemetry = countingTelemetry();
  const server = createGrpcServer(
    { api: agent.api, telemetry, logger, clock: systemClock },
    { address: "127.0.0.1:0", drainTimeoutMs: 2_000, tls },
  );
  const port = Number((await server.start()).split(":")[1]);
  return {
    port,
    warnings,
    renew: (it) => server.renewTls(it),
    async ask(clientTls, host = "localhost") {
      const addresses = [`${host}:${port}`];
      const transport = createGrpcTransport({ clock: systemClock }, { addresses, tls: clientTls });
      try {
        return await transport.connection(`${host}:${port}`).api.listTopics({}, call);
      } finally {
        await transport.close();
      }
    },
    async stop() {
      await server.stop();
      telemetry.close();
    },
  };
}

describe("gRPC over TLS", () => {
  let made: Certificates;
  before(async () => {
    made = await makeCertificates();
  });

  async function withServer(
    tls: ServerTls | undefined,
    test: (server: Listening) => Promise<void>,
  ): Promise<void> {
    const server = await listen(tls);
    try {
      await test(server);
    } finally {
      await server.stop();
    }
  }

  async function refused(
    server: Listening,
    tls: ClientTls | boolean,
    advice: RegExp,
    host?: string,
  ): Promise<StreamHouseError> {
    const error = await failureOf(server.ask(tls, host));
    assert.equal(error.code, "AGENT_UNREACHABLE", error.message);
    assert.equal(error.outcome, "none");
    assert.match(error.message, advice);
    assert.equal(error.message.includes("\n"), false);
    return error;
  }

  it("serves clients that trust its authority, by name and by IP address", async () => {
    const { authority, right } = made;
    await withServer(right, async (server) => {
      await server.ask({ ca: authority.cert });
      await server.ask({ ca: authority.cert }, "127.0.0.1");
    });
  });

  it("serves clients that trust its own certificate, where nobody else vouches for it", async () => {
    const own = await selfSigned();
    await withServer(own, async (server) => {
      await server.ask({ ca: own.cert });
      await refused(server, true, /not from an authority that this client trusts.* tls\.ca/);
    });
  });

  it("is refused by clients of another authority, and of none", async () => {
    await withServer(made.right, async (server) => {
      const advice = /not from an authority that this client trusts.* tls\.ca/;
      await refused(server, { ca: made.other.cert }, advice);
      await refused(server, true, advice);
    });
  });

  it("is refused under a name that it does not hold, unless the client expects another", async () => {
    const elsewhere = await made.authority.issue({ names: ["agent.example"] });
    await withServer(elsewhere, async (server) => {
      const ca = made.authority.cert;
      await refused(server, { ca }, /for another name.* advertise.* tls\.serverName/);
      await refused(server, { ca }, /for another name/, "127.0.0.1");
      await server.ask({ ca, serverName: "agent.example" });
      await server.ask({ ca, serverName: "agent.example" }, "127.0.0.1");
    });
  });

  it("is refused outside its time", async () => {
    const ca = made.authority.cert;
    for (const [when, advice] of [
      ["expired", /has expired|in force/],
      ["early", /not valid yet|in force/],
    ] as const) {
      const identity = await made.authority.issue({ [when]: true });
      await withServer(identity, async (server) => {
        await refused(server, { ca }, advice);
      });
    }
  });

  it("lets only clients with a certificate of its client authorities in", async () => {
    const { authority, other, right, client } = made;
    const expired = await authority.issue({ use: "client", expired: true });
    const foreign = await other.issue({ use: "client" });
    const ca = authority.cert;
    await withServer({ ...right, clientCa: authority.cert }, async (server) => {
      await server.ask({ ca, ...client });
      await refused(server, { ca }, /asks for a client certificate.* tls\.cert/);
      await refused(server, { ca, ...foreign }, /client certificate in tls\.cert.*clientCa/);
      await refused(server, { ca, ...expired }, /client certificate in tls\.cert.*in force/);
    });
  });

  it("says what to do where one end has TLS and the other has not", async () => {
    await withServer(made.right, async (server) => {
      await refused(server, false, /connect with tls/);
    });
    await withServer(undefined, async (server) => {
      await refused(server, { ca: made.authority.cert }, /speaks no TLS/);
    });
  });

  it("shows new connections renewed certificates, and keeps the old where the new are wrong", async () => {
    const { authority, other, right, client } = made;
    const next = await other.issue();
    await withServer(right, async (server) => {
      await server.ask({ ca: authority.cert });
      assert.throws(() => server.renew({ cert: next.cert, key: right.key }), /not the key of/);
      assert.throws(() => server.renew({ ...next, clientCa: client.cert }), /start the agent anew/);
      await server.ask({ ca: authority.cert });
      server.renew(next);
      await server.ask({ ca: other.cert });
      await refused(server, { ca: authority.cert }, /not from an authority/);
    });
  });

  it("tells the operator of a client that was refused, once in a while", async () => {
    const { authority, right } = made;
    await withServer({ ...right, clientCa: authority.cert }, async (server) => {
      for (let i = 0; i < 3; i++) await failureOf(server.ask({ ca: authority.cert }));
      await until("told", () => server.warnings.length > 0);
      assert.equal(server.warnings.length, 1);
      assert.ok(String(server.warnings[0]?.reason).length > 0);
    });
  });

  it("stops while somebody has connected and says nothing", async () => {
    const server = await listen(made.right);
    const socket = connectTcp(server.port, "127.0.0.1");
    socket.on("error", () => {});
    await new Promise((resolve) => socket.once("connect", resolve));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    await server.ask({ ca: made.authority.cert });
    await Promise.all([server.stop(), closed]);
  });
});

describe("HTTP/2 under TLS", () => {
  it("has the windows of 8 MiB, and survives a client's GOAWAY", async () => {
    const { authority, right } = await makeCertificates();
    const server = await listen(right);
    const session = connectHttp2(`https://localhost:${server.port}`, { ca: authority.cert });
    session.on("error", () => {});
    const settings = await new Promise<Settings>((resolve) =>
      session.once("remoteSettings", resolve),
    );
    assert.equal(settings.initialWindowSize, limits.http2WindowBytes);
    assert.equal(settings.maxConcurrentStreams, limits.inFlightPerConnectionMax);
    await until(
      "the connection's window is open",
      () => (session.state.remoteWindowSize ?? 0) >= limits.http2WindowBytes,
    );
    session.goaway(0);
    session.destroy();
    await server.ask({ ca: authority.cert });
    await server.stop();
  });

  it("carries large frames of a produce stream and their answers", async () => {
    const { authority, right } = await makeCertificates();
    const bytes: number[] = [];
    const agent = fakeAgent({
      produce: async (request) => {
        bytes.push(request.batches[0]?.records.length ?? 0);
        return { results: [] };
      },
    });
    const telemetry = countingTelemetry();
    const server = createGrpcServer(
      { api: agent.api, telemetry, logger: silentLogger, clock: systemClock },
      { address: "127.0.0.1:0", tls: right },
    );
    const address = (await server.start()).replace("127.0.0.1", "localhost");
    const transport = createGrpcTransport(
      { clock: systemClock },
      { addresses: [address], tls: { ca: authority.cert } },
    );
    const producer = transport.connection(address).openProducer();
    const sizes = [1, 3_000_000, 1_000_000, 7_000_000];
    await Promise.all(sizes.map((it) => producer.produce(produceRequest(batch(0, it)), call)));
    assert.deepEqual(bytes, sizes);
    await producer.close();
    await transport.close();
    await server.stop();
  });
});

describe("options of TLS", () => {
  it("are refused with the field at fault, and are not repeated", async () => {
    const { authority, right, client } = await makeCertificates();
    const damaged = right.cert.replace(/\n[^\n]+\n/, "\nAAAA\n");
    const encrypted = right.key.replaceAll("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    const wrong: readonly (readonly [ClientTls, string])[] = [
      [{ ca: "ca.pem" }, "tls.ca"],
      [{ ca: damaged }, "tls.ca"],
      [{ cert: right.cert }, "tls.key"],
      [{ key: right.key }, "tls.cert"],
      [{ cert: right.cert, key: client.key }, "tls.key"],
      [{ cert: damaged, key: right.key }, "tls.cert"],
      [{ cert: right.cert, key: encrypted }, "tls.key"],
      [{ cert: right.cert, key: right.cert }, "tls.key"],
      [{ serverName: "10.0.0.1" }, "tls.serverName"],
      [{ serverName: "https://agent" }, "tls.serverName"],
    ];
    for (const [tls, field] of wrong) {
      assert.throws(
        () => clientSecurity(tls),
        (error: StreamHouseError) => {
          assert.deepEqual([error.code, error.field], ["INVALID_ARGUMENT", field], error.message);
          assert.equal(error.message.includes(right.key.split("\n")[1] ?? "?"), false);
          return true;
        },
      );
    }
    clientSecurity({ ca: authority.cert + made(right.cert), ...client, serverName: "a.b" });
  });

  it("tell a certificate's names and time", async () => {
    const { authority } = await makeCertificates();
    const names = ["agent.example", "*.agents.example", "10.1.2.3"];
    const { cert } = await authority.issue({ names, expired: true });
    const facts = certificateFacts(cert + authority.cert);
    const held = ["agent.example", "a.agents.example", "10.1.2.3"].map((it) => facts.holds(it));
    assert.deepEqual(held, [true, true, true]);
    const others = ["other.example", "a.b.agents.example", "10.1.2.4"].map((it) => facts.holds(it));
    assert.deepEqual(others, [false, false, false]);
    assert.ok(facts.validToMs < Date.now() && facts.validFromMs < facts.validToMs);
  });
});

/** As in a bundle of authorities: with words of people between the certificates. */
function made(cert: string): string {
  return `# the old one\n${cert}`;
}
