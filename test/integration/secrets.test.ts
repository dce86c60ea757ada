/**
 * No secret appears anywhere. One scenario with marked secrets (API keys good, wrong, revoked and expired, a bearer token, the password of a
 * database, the secret of a bucket, a TLS key), and all that is said meanwhile is looked through: logs of every level, spans, metrics,
 * errors with their causes, HTTP answers, the command line's output, and every file that is written.
 */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { inspect } from "node:util";
import type { CliIo } from "../../src/cli/cli-io.ts";
import { runCli } from "../../src/cli/streamhouse.ts";
import { createApiKey, formatApiKey, parseApiKey } from "../../src/core/api-key.ts";
import { systemRandom } from "../../src/core/ids.ts";
import type { LogFields, Logger } from "../../src/core/logger.ts";
import { connect } from "../../src/house/connect.ts";
import { createPostgresMetadata } from "../../src/metadata/postgres.ts";
import { type Served, serve } from "../../src/serve/serve.ts";
import { createS3Store } from "../../src/storage/s3.ts";
import { type Certificates, makeCertificates } from "../unit/rpc/certificates.ts";
import { type Recorded, record } from "./tracing/harness.ts";

const token = "bearer-token-MARKED-5f0c1e77";
const password = "database-password-MARKED-b2d9";
const bucketSecret = "bucket-secret-MARKED-77aa01";

/** By name; a key's by its secret part. */
const secrets = new Map<string, string>([
  ["the bearer token", token],
  ["the database's password", password],
  ["the bucket's secret", bucketSecret],
]);
/** All that was said, by where. */
const said: { readonly where: string; readonly text: string }[] = [];
const hear = (where: string, text: string) => void said.push({ where, text });

const logger: Logger = {
  debug: (message, fields) => log("debug", message, fields),
  info: (message, fields) => log("info", message, fields),
  warn: (message, fields) => log("warn", message, fields),
  error: (message, fields) => log("error", message, fields),
};

function log(level: string, message: string, fields: LogFields = {}): void {
  hear(`log ${level}`, `${message} ${inspect(fields, { depth: 12, showHidden: true })}`);
}

/** Runs what is to fail, and hears the error, whole. */
async function failing(what: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    hear(
      `error of ${what}`,
      inspect(error, { depth: 12, showHidden: true, maxStringLength: null }),
    );
    hear(`text of ${what}`, String(error instanceof Error ? error.stack : error));
    return;
  }
  assert.fail(`${what} did not fail`);
}

/** One command in this process. Its standard output comes back unheard: once in a life it is a key. */
async function cli(args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  let stdout = "";
  const io: CliIo = {
    async *stdin() {},
    stdout: {
      ...{ closed: false, failure: undefined },
      async write(lines) {
        stdout += lines.map((line) => `${line}\n`).join("");
        return lines.length;
      },
    },
    stderr: (line) => hear(`stderr of ${args[0]} ${args[1]}`, line),
    ...{ env, stop: new AbortController().signal },
  };
  await runCli(args, io);
  return stdout;
}

async function heardCli(args: readonly string[], env: Record<string, string> = {}): Promise<void> {
  hear(`stdout of ${args.join(" ").slice(0, 20)}`, await cli(args, env));
}

function keep(name: string, text: string): string {
  const secret = parseApiKey(text)?.secret;
  assert.ok(secret !== undefined, name);
  secrets.set(name, secret);
  return text;
}

/** Listens on a free port of 127.0.0.1. */
async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

const closeServer = (server: Server) =>
  new Promise<void>((resolve) => {
    server.close(() => resolve());
    if ("closeAllConnections" in server) (server.closeAllConnections as () => void)();
  });

/** A PostgreSQL server that asks for the password and then says no (protocol 3.0, "Message Formats"). */
function refusingPostgres(): Server {
  const refusal = "SFATAL\0C28P01\0Mpassword authentication failed\0\0";
  const message = (kind: string, body: Buffer) => {
    const head = Buffer.alloc(5, kind);
    head.writeInt32BE(body.length + 4, 1);
    return Buffer.concat([head, body]);
  };
  return createServer((socket) => {
    socket.on("error", () => {});
    let asked = false;
    socket.on("data", () => {
      if (asked) socket.end(message("E", Buffer.from(refusal)));
      else socket.write(message("R", Buffer.from([0, 0, 0, 3])));
      asked = true;
    });
  });
}

describe("secrets", () => {
  let data: string;
  let recorded: Recorded;
  let certificates: Certificates;
  let served: Served;
  let ownerFile: string;
  let owner: string;
  before(async () => {
    data = await mkdtemp(join(tmpdir(), "streamhouse-secrets-"));
    recorded = record();
    certificates = await makeCertificates();
    const lines = certificates.right.key.trim().split("\n");
    secrets.set("the TLS key", (lines[1] ?? "").slice(30));
    const text = await cli(["keys", "create", "owner", "--admin", "*", "--data", join(data, "d")]);
    owner = keep("the owner's key", text.trim());
    ownerFile = join(data, "owner.key");
    await writeFile(ownerFile, text);
    const { sdk } = recorded;
    served = await serve({
      ...{ data: join(data, "d"), grpc: "localhost:0", http: "127.0.0.1:0", logger, token },
      ...{ access: "keys", tls: certificates.right },
      telemetry: { ...sdk, metrics: sdk.metrics },
    });
  });
  after(async () => {
    await served?.stop();
    await recorded.close();
    await rm(data, { recursive: true, force: true });
  });

  it("are used by clients that may, and by clients that may not", async () => {
    const tls = { ca: certificates.authority.cert };
    const shared = { agents: [served.grpc], tls, logger, telemetry: recorded.sdk };
    const root = await connect({ ...shared, apiKey: owner });
    await root.admin.createTopic("shop.orders");
    await root.admin.createTopic("other");
    const rights = (["produce", "consume"] as const).map((action) => ({
      ...{ action, topicPrefix: "shop." },
    }));
    const shopKey = await root.admin.keys.create("shop", { rights });
    const endedKey = await root.admin.keys.create("ended", { rights });
    const shortKey = await root.admin.keys.create("short", { rights, lifeMs: 1 });
    keep("the shop's key", shopKey.text);
    keep("the revoked key", endedKey.text);
    keep("the expired key", shortKey.text);
    assert.equal(await root.admin.keys.revoke(endedKey.id), true);
    hear("list of keys", JSON.stringify(await root.admin.keys.list()));
    await recorded.under("application", async () => {
      const shop = await connect({ ...shared, apiKey: shopKey.text });
      const producer = shop.producer();
      await producer.send({ topic: "shop.orders", value: "1" });
      await failing("producing elsewhere", () => producer.send({ topic: "other", value: "1" }));
      const consumer = shop.consumer({
        group: "g",
        topics: ["shop.orders"],
        offsetReset: "earliest",
      });
      assert.equal((await consumer.poll(20_000)).length, 1);
      await failing("listing keys", () => shop.admin.keys.list());
      await shop.close();
    });
    const made = createApiKey(systemRandom);
    const unknown = keep("an unknown key", formatApiKey(made));
    secrets.set("half a key", made.secret.slice(0, 40));
    for (const apiKey of [unknown, unknown.slice(0, -3), endedKey.text, shortKey.text]) {
      await recorded.under("stranger", async () => {
        await failing("connecting", () => connect({ ...shared, apiKey }));
      });
    }
    await failing("a key that is none", () => connect({ ...shared, apiKey: `${shopKey.text}\n` }));
    await failing("a key over plaintext", () =>
      connect({ agents: ["192.0.2.1:1"], apiKey: shopKey.text, telemetry: false }),
    );
    await root.close();
  });

  it("are shown to HTTP, right and wrong", async () => {
    const wrong = `${token}-wrong`;
    for (const shown of [token, wrong, owner, owner.slice(0, -2)]) {
      const headers = { authorization: `Bearer ${shown}` };
      for (const path of ["/metrics", "/health", "/nowhere"]) {
        const response = await fetch(`${served.http}${path}?token=x`, { headers });
        hear(`HTTP ${path}`, `${await response.text()} ${inspect([...response.headers])}`);
      }
    }
    const metrics = said.find((it_) => it_.where === "HTTP /metrics");
    assert.match(metrics?.text ?? "", /streamhouse_access_refused_total\{reason="denied"\} [1-9]/);
  });

  it("are given to the command line", async () => {
    const ca = join(data, "ca.pem");
    await writeFile(ca, certificates.authority.cert);
    const way = ["--agents", served.grpc, "--tls-ca", ca];
    await heardCli(["keys", "list", ...way, "--api-key-file", ownerFile]);
    await heardCli(["keys", "list", "--json", ...way], { STREAMHOUSE_API_KEY: owner });
    await heardCli(["keys", "list", ...way], { STREAMHOUSE_API_KEY: `${owner.slice(0, -1)}!` });
    await heardCli(["keys", "revoke", owner, ...way, "--api-key-file", ownerFile]);
    await heardCli(["topic", "list", ...way], { STREAMHOUSE_API_KEY: owner });
    await heardCli(["keys", "list", "--data", join(data, "d")]);
    const url = join(data, "url");
    await writeFile(url, `postgres://u:${password}@127.0.0.1:1/db`);
    await heardCli(["keys", "list", "--metadata-file", url]);
    await heardCli(["keys", "list"], {
      STREAMHOUSE_METADATA: `postgres://u:${password}@[::1:1/db`,
    });
    await heardCli(["keys", "list", "--metadata", `mysql://u:${password}@h/db`]);
    const errors = said.filter((it_) => it_.where.startsWith("stderr of keys"));
    assert.ok(errors.length >= 5, inspect(errors));
  });

  it("are given to a database that refuses them", async () => {
    const server = refusingPostgres();
    const port = await listen(server);
    try {
      for (const at of [`127.0.0.1:${port}`, "127.0.0.1:1"]) {
        const url = `postgres://u:${password}@${at}/db`;
        await failing("opening the database", () =>
          createPostgresMetadata({ logger }, { url, connectTimeoutMs: 5_000 }),
        );
        await failing("starting an agent on it", () =>
          serve({ store: "s3://bucket/p", metadata: url, logger, telemetry: false }),
        );
      }
    } finally {
      await closeServer(server);
    }
  });

  it("are given to a bucket that refuses them", async () => {
    const server = createHttpServer((request, response) => {
      request.resume();
      response.writeHead(403, { "content-type": "application/xml" });
      response.end("<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>");
    });
    const port = await listen(server);
    const store = createS3Store(
      {},
      {
        ...{ bucket: "bucket", prefix: "p", endpoint: `http://127.0.0.1:${port}`, region: "x" },
        credentials: { accessKeyId: "id", secretAccessKey: bucketSecret },
      },
    );
    try {
      await failing("writing an object", () => store.put("a", [new Uint8Array(3)]));
      await failing("reading one", () => store.get("a", { start: 0, length: 1 }));
      await failing("looking for one", () => store.head("a"));
    } finally {
      await store.close();
      await closeServer(server);
    }
  });

  it("appear nowhere", async () => {
    await served.stop();
    for (const span of recorded.book.ended) {
      const { name, attributes, events, status, links } = span;
      hear("span", inspect({ name, attributes, events, status, links }, { depth: 12 }));
    }
    const events = recorded.book.ended.flatMap((it_) => it_.events.map((event) => event.name));
    assert.ok(events.includes("streamhouse.access.refused"));
    const files = await readdir(join(data, "d"), { recursive: true, withFileTypes: true });
    for (const file of files.filter((it_) => it_.isFile())) {
      const path = join(file.parentPath, file.name);
      hear(`file ${file.name}`, (await readFile(path)).toString("latin1"));
    }
    const places = new Set(said.map((it_) => it_.where.split(" ")[0]));
    for (const place of ["log", "error", "span", "HTTP", "stdout", "stderr", "file"]) {
      assert.ok(places.has(place), `nothing was heard of ${place}`);
    }
    assert.ok(said.length > 60 && secrets.size >= 10, `${said.length}, ${secrets.size}`);
    const found = said.flatMap(({ where, text }) =>
      [...secrets]
        .filter(([, secret]) => text.includes(secret) || text.includes(btoa(secret)))
        .map(([name]) => `${name} in ${where}`),
    );
    assert.deepEqual([...new Set(found)], []);
  });
});
