/** The bench's command line. */
import { parseArgs } from "node:util";

export interface BenchArguments {
  readonly quick: boolean;
  readonly json: boolean;
  readonly help: boolean;
  /** Measures the peers beside StreamHouse. */
  readonly peers: boolean;
  /** Names of the figures to measure; empty measures all. */
  readonly only: readonly string[];
  /** Parent of the scratch folders: choose the disk to measure. */
  readonly data: string | undefined;
}

export const usage = `npm run bench -- [--quick] [--json] [--peers] [--only NAME[,NAME...]] [--data DIR]

  --quick   smaller rounds: under three minutes
  --json    a JSON line for the machine, then one for each figure
  --peers   NATS JetStream, Redis Streams and Apache Kafka in the same rounds (those that this machine can run)
  --only    measures these figures, and the raw limits that they are compared with
  --data    where scratch data goes (default: the system's temporary folder)
`;

/** @throws TypeError for an unknown option */
export function parseArguments(args: readonly string[]): BenchArguments {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      peers: { type: "boolean", default: false },
      help: { type: "boolean", default: false, short: "h" },
      only: { type: "string" },
      data: { type: "string" },
    },
  });
  const only = (values.only ?? "").split(",").filter((name) => name !== "");
  const { quick, json, help, peers, data } = values;
  return { quick, json, help, peers, only, data };
}
