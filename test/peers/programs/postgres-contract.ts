/**
 * The metadata store's contract on a PostgreSQL that runs already, for the test runner of any runtime. Its address comes in the
 * environment as `POSTGRES_URL`. Started by postgres-contract.test.ts.
 */
import process from "node:process";
import postgres from "postgres";
import { createPostgresMetadata } from "../../../src/metadata/postgres.ts";
import { metadataStoreContract } from "../../../src/testing/contracts/metadata-store.ts";
import { movableClock } from "../movable-clock.ts";

const url = process.env.POSTGRES_URL ?? "";
let databases = 0;

metadataStoreContract("PostgreSQL", {
  create: async () => {
    const name = `contract_${process.pid}_${++databases}`;
    const sql = postgres(url, { max: 1, onnotice: () => {} });
    await sql.unsafe(`CREATE DATABASE ${name}`);
    await sql.end({ timeout: 1 });
    const own = url.replace(/\/[^/]*$/, `/${name}`);
    const metadata = await createPostgresMetadata({}, { url: own });
    const clock = await movableClock(own);
    const close = async () => {
      await clock.close();
      await metadata.close();
    };
    return { metadata: { ...metadata, close }, advance: clock.advance };
  },
});
