/** What the commands that talk to agents share: `--agents`, and a house that is closed however the command ends. */
import { connect } from "../house/connect.ts";
import type { House } from "../house/house.ts";
import type { Arguments, OptionSpec } from "./arguments.ts";
import { type CliIo, createStderrLogger } from "./cli-io.ts";

export const agentsOption: Readonly<Record<"agents", OptionSpec>> = {
  agents: {
    value: "HOST:PORT[,…]",
    help: "where agents listen",
    fallback: "localhost:7070",
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
