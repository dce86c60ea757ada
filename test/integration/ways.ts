/** The two ways to an agent that every end-to-end test takes: over gRPC on a data folder, and in the same process. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../src/house/connect.ts";
import type { House } from "../../src/house/house.ts";
import { embed } from "../../src/serve/embed.ts";
import { serve } from "../../src/serve/serve.ts";

export interface Way {
  readonly name: string;
  /** A house of its own on an agent of its own; `close` ends both and removes the data. */
  open(): Promise<{ readonly house: House; close(): Promise<void> }>;
}

/** A folder that is gone when the test is over. */
export async function temporaryFolder(): Promise<{
  readonly path: string;
  remove(): Promise<void>;
}> {
  const path = await mkdtemp(join(tmpdir(), "streamhouse-test-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

const overGrpc: Way = {
  name: "over gRPC",
  async open() {
    const folder = await temporaryFolder();
    const served = await serve({
      data: folder.path,
      grpc: "127.0.0.1:0",
      http: false,
      telemetry: false,
    });
    const house = await connect({ agents: [served.grpc], telemetry: false });
    const close = async () => {
      await house.close();
      await served.stop();
      await folder.remove();
    };
    return { house, close };
  },
};

const inProcess: Way = {
  name: "in process",
  async open() {
    const folder = await temporaryFolder();
    const house = await embed({ data: folder.path, telemetry: false });
    const close = async () => {
      await house.close();
      await folder.remove();
    };
    return { house, close };
  },
};

export const ways: readonly Way[] = [overGrpc, inProcess];
