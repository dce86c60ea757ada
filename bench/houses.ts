/**
 * The two ways to a house that are measured: an agent in this process, and an agent in a process of
 * its own over gRPC.
 */
import { connect } from "../src/house/connect.ts";
import type { House } from "../src/house/house.ts";
import { embed } from "../src/serve/embed.ts";
import { type Child, startChild } from "./child.ts";
import { Shared } from "./shared.ts";

/** One house for all contenders that use it. */
export class SharedHouse {
  readonly #shared: Shared<OpenHouse>;

  constructor(open: () => Promise<OpenHouse>) {
    this.#shared = new Shared(open);
  }

  async enter(): Promise<House> {
    return (await this.#shared.enter()).house;
  }

  leave(): Promise<void> {
    return this.#shared.leave();
  }
}

interface OpenHouse {
  readonly house: House;
  close(): Promise<void>;
}

/** Agent, producer and consumer in this process; a folder store with durable writes. */
export function embeddedHouse(folder: () => string): SharedHouse {
  return new SharedHouse(async () => {
    const house = await embed({ data: folder() });
    return { house, close: () => house.close() };
  });
}

/** The command line's agent in its own process, with all defaults; this process is the client. */
export function grpcHouse(folder: () => string): SharedHouse {
  return new SharedHouse(async () => {
    const args = ["agent", "--data", folder(), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    const agent: Child = await startChild("src/cli.ts", args);
    try {
      const house = await connect({ agents: [String(agent.ready.grpc)] });
      return {
        house,
        close: async () => {
          await house.close();
          await agent.stop();
        },
      };
    } catch (error) {
      await agent.stop();
      throw error;
    }
  });
}
