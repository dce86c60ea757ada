/**
 * The metadata store's contract on a real PostgreSQL. Its clock is the database's, so tests that move time replace the one
 * function that reads it; that the function reads the real clock is told by postgres-interleavings.test.ts.
 */
import { after, before } from "node:test";
import { type PostgresServer, startPostgres } from "../../scripts/backends/postgres.ts";
import { systemClock } from "../../src/core/clock.ts";
import { instrumentMetadata } from "../../src/metadata/instrumented.ts";
import type { MetadataStore } from "../../src/metadata/metadata-store.ts";
import { createPostgresMetadata } from "../../src/metadata/postgres.ts";
import { createMetricRegistry } from "../../src/telemetry/registry.ts";
import { metadataStoreContract } from "../../src/testing/contracts/metadata-store.ts";
import type { MetadataSubject } from "../../src/testing/contracts/metadata-subject.ts";
import { movableClock } from "./movable-clock.ts";

let server: PostgresServer;
before(async () => {
  server = await startPostgres();
});
after(() => server.remove());

async function subject(
  schema: string,
  wrap: (metadata: MetadataStore) => MetadataStore = (it) => it,
): Promise<MetadataSubject> {
  const url = await server.createDatabase();
  const metadata = await createPostgresMetadata({}, { url, schema });
  const clock = await movableClock(url, schema);
  return {
    metadata: wrap({
      ...metadata,
      close: async () => {
        await clock.close();
        await metadata.close();
      },
    }),
    advance: clock.advance,
  };
}

metadataStoreContract("PostgreSQL", { create: () => subject("streamhouse") });

metadataStoreContract("PostgreSQL, another schema, instrumented", {
  create: () =>
    subject("another_schema", (metadata) =>
      instrumentMetadata(metadata, { metrics: createMetricRegistry(), clock: systemClock }),
    ),
});
