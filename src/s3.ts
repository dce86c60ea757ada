/**
 * `@streamhouse/streamhouse/s3`: records in a bucket of Amazon S3 or of a service that speaks its protocol, for many agents. Needs the
 * package `@aws-sdk/client-s3`.
 */
export type { ByteRange, ObjectInfo, ObjectStore } from "./storage/object-store.ts";
export { createS3Store, type S3StoreComponents, type S3StoreOptions } from "./storage/s3.ts";
export type { S3Credentials } from "./storage/s3-requests.ts";
export { parseS3Url, type S3Location } from "./storage/s3-url.ts";
