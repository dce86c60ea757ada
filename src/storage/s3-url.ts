/**
 * `s3://bucket/prefix?endpoint=…&region=…&pathStyle=…`: where an S3 store lies, as one line for flags and settings. Credentials are no
 * part of it, because lines like this end up in logs and process lists. Called by whoever opens a store that is named by a URL.
 */
import { invalid, type StreamHouseError } from "../core/errors.ts";

/** Where the objects lie. */
export interface S3Location {
  readonly bucket: string;
  /** In front of every key, without slashes at its ends. Empty: the keys begin at the bucket's root. */
  readonly prefix: string;
  /** Of an S3-compatible service. Undefined: Amazon S3, or what the AWS SDK's own settings name. */
  readonly endpoint: string | undefined;
  /** Undefined: what the AWS SDK finds (`AWS_REGION`, the profile). */
  readonly region: string | undefined;
  /** The bucket in the path and not in the host name. */
  readonly pathStyle: boolean;
}

export const s3UrlForm = "s3://BUCKET/PREFIX?endpoint=URL&region=NAME&pathStyle=true|false";

/** Amazon's rule, without its finer points, which the service itself tells. */
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const NAME = "[A-Za-z0-9_][A-Za-z0-9._=-]*";
const PREFIX = new RegExp(`^(${NAME}(/${NAME})*)?$`);
/** S3 takes keys of 1,024 bytes, the store's own have up to 900 characters, and a slash comes between. */
export const PREFIX_CHARACTERS_MAX = 120;

const PARAMETERS: ReadonlySet<string> = new Set(["endpoint", "region", "pathStyle"]);

/**
 * Reads the URL. With an endpoint `pathStyle` is true unless the URL says otherwise, because most services that are not Amazon's have no
 * host name for each bucket.
 * @throws StreamHouseError `INVALID_ARGUMENT` (field `store`); the message never holds what may be a secret
 */
export function parseS3Url(text: string): S3Location {
  if (!/^s3:\/\//i.test(text) || !URL.canParse(text)) throw refused("is no such URL");
  const url = new URL(text);
  if (url.username !== "" || url.password !== "") {
    throw refused(
      "holds credentials: leave them out, and give them to the AWS SDK's credential chain (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, a role)",
    );
  }
  if (url.port !== "") throw refused("has a port: the service's address belongs into endpoint=");
  if (url.hash !== "") throw refused("has a fragment (#)");
  for (const name of url.searchParams.keys()) {
    if (!PARAMETERS.has(name)) throw refused(`has the unknown parameter ${JSON.stringify(name)}`);
    if (url.searchParams.getAll(name).length > 1) throw refused(`has ${name} more than once`);
  }
  const endpoint = checkEndpoint(url.searchParams.get("endpoint") ?? undefined);
  const region = url.searchParams.get("region") ?? undefined;
  if (region !== undefined) checkRegion(region);
  return {
    bucket: checkBucket(url.hostname),
    prefix: checkPrefix(decodePath(url.pathname)),
    endpoint,
    region,
    pathStyle: readBoolean(url.searchParams.get("pathStyle")) ?? endpoint !== undefined,
  };
}

/** @throws StreamHouseError `INVALID_ARGUMENT` */
export function checkBucket(bucket: string): string {
  if (BUCKET.test(bucket)) return bucket;
  throw refused(
    `names the bucket ${JSON.stringify(bucket.slice(0, 80))}: bucket names have 3 to 63 of a-z 0-9 . - and begin and end with a letter or digit`,
  );
}

/** Without the slashes around it. @throws StreamHouseError `INVALID_ARGUMENT` */
export function checkPrefix(prefix: string): string {
  const bare = prefix.replace(/^\/|\/$/g, "");
  if (bare.length <= PREFIX_CHARACTERS_MAX && PREFIX.test(bare)) return bare;
  throw refused(
    `has the prefix ${JSON.stringify(bare.slice(0, 80))}: use names of a-z A-Z 0-9 . _ = - that do not begin with a dot, separated by /, at most ${PREFIX_CHARACTERS_MAX} characters`,
  );
}

/** @throws StreamHouseError `INVALID_ARGUMENT` */
export function checkEndpoint(endpoint: string | undefined): string | undefined {
  if (endpoint === undefined) return undefined;
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw refused("has an endpoint that is no http:// or https:// URL");
  }
  if (url.username !== "" || url.password !== "") throw refused("has an endpoint with credentials");
  if (url.search !== "" || url.hash !== "") throw refused("has an endpoint with a query");
  return endpoint.replace(/\/$/, "");
}

function checkRegion(region: string): void {
  if (/^[a-z0-9-]{1,40}$/.test(region)) return;
  throw refused(`has the region ${JSON.stringify(region.slice(0, 60))}, which is no region's name`);
}

function readBoolean(text: string | null): boolean | undefined {
  if (text === null) return undefined;
  if (text === "true" || text === "false") return text === "true";
  throw refused(`has pathStyle=${JSON.stringify(text.slice(0, 20))}: use true or false`);
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw refused("has a path with a broken % sequence");
  }
}

function refused(what: string): StreamHouseError {
  return invalid("INVALID_ARGUMENT", `store ${what}: expected ${s3UrlForm}`, { field: "store" });
}
