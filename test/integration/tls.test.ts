/**
 * Clients on this runtime, agents on all three, TLS between them: records go through, and each wrong certificate is refused with words that
 * say what to do. Run on all three runtimes it is every pair of them.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type RuntimeName, root, runtimePath } from "../../scripts/runtimes.ts";
import { StreamHouseError } from "../../src/core/errors.ts";
import { type ConnectOptions, connect } from "../../src/house/connect.ts";
import type { ServerTls } from "../../src/rpc/tls-options.ts";
import { type Identity, makeCertificates, selfSigned } from "../unit/rpc/certificates.ts";
import { Child } from "./child.ts";
import { temporaryFolder } from "./ways.ts";

/** What agents serve with, and what clients connect with. */
interface Made {
  readonly servers: Readonly<Record<string, ServerTls>>;
  readonly ca: string;
  readonly otherCa: string;
  readonly client: Identity;
  readonly foreignClient: Identity;
  readonly expiredClient: Identity;
}

async function makeAll(): Promise<Made> {
  const { authority, other, right, client } = await makeCertificates();
  return {
    servers: {
      right,
      keys: right,
      mutual: { ...right, clientCa: authority.cert },
      expired: await authority.issue({ expired: true }),
      elsewhere: await authority.issue({ names: ["agent.example"] }),
      "self-signed": await selfSigned(),
    },
    ca: authority.cert,
    otherCa: other.cert,
    client,
    foreignClient: await other.issue({ use: "client" }),
    expiredClient: await authority.issue({ use: "client", expired: true }),
  };
}

async function refusal(options: ConnectOptions): Promise<StreamHouseError> {
  try {
    await (await connect({ ...options, telemetry: false })).close();
  } catch (error) {
    assert.ok(StreamHouseError.is(error), String(error));
    return error;
  }
  throw new Error(`${options.agents} let it in`);
}

/** Sends records of many sizes, and reads them back in their order. */
async function roundTrip(options: ConnectOptions, topic: string): Promise<void> {
  await using house = await connect({ ...options, telemetry: false });
  await house.admin.createTopic(topic);
  const values = [10, 1_000_000, 0, 300_000, 1_000_000].map((size, i) =>
    new Uint8Array(size).fill(i + 1),
  );
  const producer = house.producer();
  await Promise.all(values.map((value) => producer.send({ topic, value })));
  await producer.close();
  const consumer = house.consumer({ assign: [{ topic, partition: 0, offset: 0 }] });
  const read: (readonly [number, number | undefined])[] = [];
  for await (const record of consumer) {
    const bytes = record.value ?? new Uint8Array(0);
    read.push([bytes.length, bytes.at(-1)]);
    if (read.length === values.length) break;
  }
  await consumer.close();
  assert.deepEqual(
    read,
    values.map((value) => [value.length, value.at(-1)] as const),
  );
}

describe("TLS from this runtime", () => {
  let made: Made;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  before(async () => {
    made = await makeAll();
    folder = await temporaryFolder();
    for (const [name, tls] of Object.entries(made.servers)) {
      await writeFile(join(folder.path, `${name}.json`), JSON.stringify(tls));
    }
  });
  after(() => folder.remove());

  for (const runtime of ["node", "bun", "deno"] as const satisfies readonly RuntimeName[]) {
    it(`to agents on ${runtime}: right ones are served, wrong ones refused with the reason`, async () => {
      const child = startAgents(runtime, folder.path);
      try {
        const line = await child.says("addresses", (out) => /^\{.*\}$/m.exec(out)?.[0]);
        const { addresses, apiKey } = JSON.parse(line);
        const at = (name: string) => [String(addresses[name])];
        await serves(made, at, apiKey);
        await refuses(made, at);
      } finally {
        child.process.stdin.end();
        await child.finished();
      }
    });
  }
});

function startAgents(runtime: RuntimeName, folder: string): Child {
  const before = runtime === "deno" ? ["run", "-A"] : [];
  const program = join(root, "test/integration/tls-agents.ts");
  return new Child(program, [folder], { command: [runtimePath(runtime), ...before] });
}

type At = (name: string) => string[];

async function serves(made: Made, at: At, apiKey: string): Promise<void> {
  const { ca, client } = made;
  await roundTrip({ agents: at("right"), tls: { ca } }, "by-name");
  const byAddress = at("right").map((it) => it.replace("localhost", "127.0.0.1"));
  await roundTrip({ agents: byAddress, tls: { ca } }, "by-address");
  await roundTrip({ agents: at("mutual"), tls: { ca, ...client } }, "mutual");
  await roundTrip({ agents: at("elsewhere"), tls: { ca, serverName: "agent.example" } }, "named");
  const own = made.servers["self-signed"]?.cert ?? "";
  await roundTrip({ agents: at("self-signed"), tls: { ca: own } }, "own");
  await roundTrip({ agents: at("keys"), tls: { ca }, apiKey }, "keys");
  const wrongKey = `${apiKey.slice(0, -1)}${apiKey.endsWith("a") ? "b" : "a"}`;
  for (const key of [undefined, wrongKey]) {
    const error = await refusal({ agents: at("keys"), tls: { ca }, apiKey: key });
    assert.equal(error.code, "UNAUTHENTICATED");
    assert.equal(error.message.includes(wrongKey), false);
  }
}

async function refuses(made: Made, at: At): Promise<void> {
  const { ca, otherCa: other } = made;
  const wrong: readonly (readonly [string, ConnectOptions["tls"], RegExp])[] = [
    ["right", { ca: other }, /not from an authority.* tls\.ca/],
    ["right", true, /not from an authority.* tls\.ca/],
    ["self-signed", { ca }, /not from an authority.* tls\.ca/],
    ["expired", { ca }, /has expired|is in force/],
    ["elsewhere", { ca }, /for another name.* tls\.serverName/],
    ["mutual", { ca }, /asks for a client certificate/],
    ["mutual", { ca, ...made.foreignClient }, /client certificate in tls\.cert/],
    ["mutual", { ca, ...made.expiredClient }, /client certificate in tls\.cert/],
    ["right", false, /connect with tls/],
  ];
  for (const [name, tls, advice] of wrong) {
    const error = await refusal({ agents: at(name), tls });
    assert.equal(error.code, "AGENT_UNREACHABLE", `${name}: ${error.message}`);
    assert.match(error.message, advice, name);
  }
}
