import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { createFolderStore } from "../../src/storage/folder.ts";
import { instrumentStore } from "../../src/storage/instrumented.ts";
import { createMemoryStore } from "../../src/storage/memory.ts";
import { createMetricRegistry } from "../../src/telemetry/registry.ts";
import { objectStoreContract } from "../../src/testing/contracts/object-store.ts";

objectStoreContract("memory", { create: async () => createMemoryStore() });

const dirs: string[] = [];
objectStoreContract("folder", {
  create: async () => {
    const dir = await mkdtemp(join(tmpdir(), "streamhouse-store-"));
    dirs.push(dir);
    // Not there yet: the first put makes it.
    return createFolderStore(join(dir, "store"));
  },
  cleanUp: async () => {
    for (const dir of dirs) await rm(dir, { recursive: true });
  },
});

objectStoreContract("instrumented", {
  create: async () =>
    instrumentStore(createMemoryStore(), { metrics: createMetricRegistry(), clock: systemClock }),
});
