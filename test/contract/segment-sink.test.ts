import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { createFolderStore } from "../../src/storage/folder.ts";
import { createFolderSink } from "../../src/storage/folder-sink.ts";
import { instrumentSink } from "../../src/storage/instrumented.ts";
import { createMemoryStore } from "../../src/storage/memory.ts";
import { createObjectSink } from "../../src/storage/object-sink.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { createMetricRegistry } from "../../src/telemetry/registry.ts";
import { segmentSinkContract } from "../../src/testing/contracts/segment-sink.ts";

/** One bucket for all runs, and what each of them opens and closes is a view of it. */
function shared(store: ObjectStore): ObjectStore {
  return {
    kind: store.kind,
    put: store.put.bind(store),
    get: store.get.bind(store),
    head: store.head.bind(store),
    list: store.list.bind(store),
    delete: store.delete.bind(store),
    close: async () => {},
  };
}

const memory = createMemoryStore();
segmentSinkContract("objects in memory", {
  create: async () => {
    const store = shared(memory);
    return { store, sink: createObjectSink({ store, clock: systemClock }) };
  },
});

const instrumented = createMemoryStore();
segmentSinkContract("objects in memory, instrumented", {
  create: async () => {
    const store = shared(instrumented);
    const sink = createObjectSink({ store, clock: systemClock });
    const metrics = createMetricRegistry();
    return { store, sink: instrumentSink(sink, { metrics, clock: systemClock }) };
  },
});

const folder = await mkdtemp(join(tmpdir(), "streamhouse-sink-"));
segmentSinkContract("folder", {
  create: async () => ({
    store: createFolderStore(join(folder, "store")),
    sink: createFolderSink({ dir: join(folder, "store"), clock: systemClock }),
  }),
  cleanUp: async () => rm(folder, { recursive: true }),
});

const rolling = await mkdtemp(join(tmpdir(), "streamhouse-sink-"));
segmentSinkContract("folder with a file for nearly each chunk", {
  create: async () => ({
    store: createFolderStore(rolling),
    sink: createFolderSink({ dir: rolling, clock: systemClock }, { fileBytesMax: 150 }),
  }),
  cleanUp: async () => rm(rolling, { recursive: true }),
});
