/** The door `./postgres`: metadata in PostgreSQL, for many agents. Needs the package `postgres`. */
export {
  createPostgresMetadata,
  type PostgresMetadataComponents,
} from "./metadata/postgres.ts";
export type { PostgresOptions } from "./metadata/postgres-options.ts";
