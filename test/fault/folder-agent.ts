/** An agent over a data folder: what `serve` makes, without servers. */
import { type Agent, createAgent } from "../../src/agent/agent.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createUlid, systemRandom } from "../../src/core/ids.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { createSqliteMetadata } from "../../src/metadata/sqlite.ts";
import { createFolderStore } from "../../src/storage/folder.ts";
import { openDataFolder } from "../../src/storage/folder-lock.ts";
import { createFolderSink } from "../../src/storage/folder-sink.ts";

export interface FolderAgent {
  readonly agent: Agent;
  close(): Promise<void>;
}

export async function openFolderAgent(dir: string): Promise<FolderAgent> {
  const clock = systemClock;
  const folder = await openDataFolder(dir);
  const runId = createUlid(clock.now(), systemRandom);
  const metadata = createSqliteMetadata({ path: folder.metadataPath, clock });
  const store = createFolderStore(folder.storeDir);
  const sink = createFolderSink({ dir: folder.storeDir, clock });
  const edge = { clock, random: systemRandom, logger: silentLogger, telemetry: false } as const;
  const options = { predecessorsDead: true, runId };
  const agent = createAgent({ metadata, store, sink, ...edge }, options);
  await agent.start();
  return {
    agent,
    async close() {
      await agent.stop();
      for (const it of [sink, store, metadata]) await it.close();
      folder.release();
    },
  };
}
