/**
 * Opens a store or metadata that is named by a URL. What a URL needs (an S3 client, a PostgreSQL client) is an optional peer and is
 * loaded only here, when it is asked for. Secrets in a URL never reach a message. Called by `stores.ts`.
 */
import { readFile } from "node:fs/promises";
import type { Clock } from "../core/clock.ts";
import { invalid, type StreamHouseError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { MetadataStore } from "../metadata/metadata-store.ts";
import type { ObjectStore } from "../storage/object-store.ts";

/** The optional peers, with the versions that the tests run with: a test compares them with package.json. */
export const peerPackages: Readonly<Record<"store" | "metadata", string>> = {
  store: "@aws-sdk/client-s3@3.1173.0",
  metadata: "postgres@3.4.9",
};

export interface StoreUrlComponents {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** @throws StreamHouseError `INVALID_ARGUMENT` (field `store`), `NOT_SUPPORTED` if the S3 client is not installed */
export async function openStoreUrl(
  url: string,
  components: StoreUrlComponents,
): Promise<ObjectStore> {
  checkScheme("store", url, ["s3:"], "s3://BUCKET/PREFIX?endpoint=…&region=…");
  const { createS3Store, parseS3Url } = await loadPeer(
    "store",
    url,
    () => import("../storage/s3.ts"),
  );
  return createS3Store(components, parseS3Url(url));
}

/**
 * Connects, and brings the tables up to date.
 * @throws StreamHouseError `INVALID_ARGUMENT` (field `metadata`), `NOT_SUPPORTED` if the PostgreSQL client is not installed,
 * `METADATA_UNAVAILABLE`, `METADATA_TOO_NEW`
 */
export async function openMetadataUrl(
  url: string,
  components: StoreUrlComponents,
): Promise<MetadataStore> {
  const form = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";
  checkScheme("metadata", url, ["postgres:", "postgresql:"], form);
  const { createPostgresMetadata } = await loadPeer(
    "metadata",
    url,
    () => import("../metadata/postgres.ts"),
  );
  return createPostgresMetadata(components, { url, ca: await rootCertificate(url) });
}

/** The file that `sslrootcert` names, as psql knows it. */
async function rootCertificate(url: string): Promise<string | undefined> {
  const [, encoded] = /[?&]sslrootcert=([^&#]+)/.exec(url) ?? [];
  if (encoded === undefined) return undefined;
  try {
    return await readFile(decodeURIComponent(encoded), "utf8");
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? "it is no path";
    const message = `metadata: the file that sslrootcert names cannot be read (${why})`;
    throw invalid("INVALID_ARGUMENT", message, { field: "metadata", cause });
  }
}

function checkScheme(
  field: "store" | "metadata",
  url: string,
  schemes: readonly string[],
  form: string,
): void {
  const scheme = /^[a-z][a-z0-9+.-]*:(?=\/\/)/i.exec(url)?.[0].toLowerCase();
  // With several hosts a PostgreSQL URL is none that `URL` can parse: its own room says what is wrong with it.
  const parses = field === "metadata" || URL.canParse(url);
  if (scheme !== undefined && schemes.includes(scheme) && parses) return;
  const given = scheme === undefined || !schemes.includes(scheme) ? (scheme ?? "no URL") : "broken";
  throw invalid("INVALID_ARGUMENT", `${field} is ${given}: expected ${form}`, { field });
}

async function loadPeer<T>(
  field: "store" | "metadata",
  url: string,
  load: () => Promise<T>,
): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    if (!isMissing(cause, nameOf(peerPackages[field]))) throw cause;
    throw missingPeer(field, url.slice(0, url.indexOf(":") + 1), cause);
  }
}

/** Each runtime says it in its own words, but all name the package. */
function isMissing(error: unknown, name: string): boolean {
  return error instanceof Error && error.message.includes(name);
}

/** `NOT_SUPPORTED`, with the line to type. */
export function missingPeer(
  field: "store" | "metadata",
  scheme: string,
  cause: unknown,
): StreamHouseError {
  const wanted = peerPackages[field];
  const message = `${field} ${scheme}//… needs the package ${nameOf(wanted)}, which is not installed: npm install ${wanted}`;
  return invalid("NOT_SUPPORTED", message, { field, cause });
}

function nameOf(versioned: string): string {
  return versioned.slice(0, versioned.lastIndexOf("@"));
}
