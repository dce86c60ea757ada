/** What the commands that talk to agents share: where they are, how to reach them, and a house that is closed however the command ends. */
import { connect } from "../house/connect.ts";
import type { House } from "../house/house.ts";
import type { ClientTls } from "../rpc/tls-options.ts";
import type { Arguments, OptionSpec } from "./arguments.ts";
import { type CliIo, createStderrLogger } from "./cli-io.ts";
import { secret, textFile } from "./text-file.ts";

/** Where agents listen, and what to show them. */
export const agentsOption: { readonly agents: OptionSpec } & Readonly<Record<string, OptionSpec>> =
  {
    agents: {
      value: "HOST:PORT[,…]",
      help: "where agents listen",
      fallback: "localhost:7070",
    },
    "api-key-file": {
      value: "FILE",
      help: "file with the key to say, where agents ask for one (or the environment's STREAMHOUSE_API_KEY)",
    },
    "api-key-over-plaintext": { help: "send the key without TLS also to other machines" },
    tls: { help: "connect over TLS; each of the options below does so, too" },
    "tls-ca": {
      value: "FILE",
      help: "authorities that the agents' certificates come from (PEM), instead of the usual ones",
    },
    "tls-cert": { value: "FILE", help: "a certificate of our own (PEM), where agents ask for one" },
    "tls-key": { value: "FILE", help: "its private key (PEM)" },
    "tls-server-name": {
      value: "NAME",
      help: "the name in the agents' certificates, where it is not the one that is connected to",
    },
  };

/** Runs `work` with a house and closes it; a failure of the work is told rather than one of the closing. */
export async function withHouse<T>(
  args: Arguments,
  io: CliIo,
  work: (house: House) => Promise<T>,
): Promise<T> {
  const agents = args.addresses("agents");
  const house = await connect({
    agents,
    clientId: `streamhouse-${args.spec.name.replace(" ", "-")}`,
    logger: createStderrLogger(io.stderr),
    tls: await clientTls(args),
    apiKey: await secret(args, "api-key-file", io.env?.STREAMHOUSE_API_KEY),
    apiKeyOverPlaintext: args.has("api-key-over-plaintext"),
  });
  let result: T;
  try {
    result = await work(house);
  } catch (error) {
    await house.close().catch(() => {});
    throw error;
  }
  await house.close();
  return result;
}

async function clientTls(args: Arguments): Promise<boolean | ClientTls> {
  const tls: ClientTls = {
    ca: await textFile(args, "tls-ca"),
    cert: await textFile(args, "tls-cert"),
    key: await textFile(args, "tls-key"),
    serverName: args.value("tls-server-name"),
  };
  const isGiven = Object.values(tls).some((it) => it !== undefined);
  return isGiven ? tls : args.has("tls");
}
