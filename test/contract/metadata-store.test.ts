import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { instrumentMetadata } from "../../src/metadata/instrumented.ts";
import { createSqliteMetadata } from "../../src/metadata/sqlite.ts";
import { createMetricRegistry } from "../../src/telemetry/registry.ts";
import { metadataStoreContract } from "../../src/testing/contracts/metadata-store.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";

metadataStoreContract("SQLite in memory", {
  create: async () => {
    const clock = new ManualClock();
    const metadata = createSqliteMetadata({ path: ":memory:", clock });
    return { metadata, advance: async (ms) => clock.advance(ms) };
  },
});

metadataStoreContract("SQLite in memory, instrumented", {
  create: async () => {
    const clock = new ManualClock();
    const inner = createSqliteMetadata({ path: ":memory:", clock });
    const metadata = instrumentMetadata(inner, { metrics: createMetricRegistry(), clock });
    return { metadata, advance: async (ms) => clock.advance(ms) };
  },
});

const dirs: string[] = [];
metadataStoreContract("SQLite in a file", {
  create: async () => {
    const dir = await mkdtemp(join(tmpdir(), "streamhouse-metadata-"));
    dirs.push(dir);
    const clock = new ManualClock();
    const metadata = createSqliteMetadata({ path: join(dir, "metadata.db"), clock });
    return { metadata, advance: async (ms) => clock.advance(ms) };
  },
  cleanUp: async () => {
    for (const dir of dirs) await rm(dir, { recursive: true });
  },
});
