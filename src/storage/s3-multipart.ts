/**
 * Large objects in several requests. Called by `s3.ts` above its limit, which lies above any flush: what is written here is merged
 * segments, whose keys hold a ULID of their own. It must leave no parts behind that nobody lists: whatever fails is aborted.
 *
 * Never overwriting: the last request carries `If-None-Match: *`, which Amazon S3 honours
 * (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html). Some services ignore it there (Ceph up to 16 does),
 * so the key is looked up before the first and before the last request as well. That leaves a moment between look and write on
 * those services, in which only a writer of the same key could come, and no two writers of this system have one.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { StreamHouseError } from "../core/errors.ts";
import { checksumOf, groupsOf, lengthOf } from "./parts.ts";
import { bodyOf, checksumHeader } from "./s3-body.ts";
import type { S3Operation } from "./s3-errors.ts";
import type { S3Requests } from "./s3-requests.ts";
import { signBody } from "./s3-signing.ts";
import { objectExists } from "./store-errors.ts";

export interface MultipartPut {
  readonly operation: S3Operation;
  /** As the callers know it, for messages. */
  readonly key: string;
  /** As the bucket has it. */
  readonly objectKey: string;
  readonly parts: readonly Uint8Array[];
  readonly metadata: Record<string, string>;
  readonly partBytes: number;
  /** Whether the key is taken. */
  readonly taken: () => Promise<boolean>;
  readonly signal: AbortSignal | undefined;
}

/** Parts under way at once. */
const CONCURRENCY = 4;

interface Uploaded {
  readonly PartNumber: number;
  readonly ETag: string | undefined;
  readonly ChecksumCRC32C: string;
}

/** Stores the object, or throws with nothing of it left. */
export async function putInParts(requests: S3Requests, put: MultipartPut): Promise<void> {
  const { key, objectKey: Key, operation, metadata: Metadata, signal, taken } = put;
  const Bucket = requests.bucket;
  if (await taken()) throw objectExists(key);
  // Nothing is there before the last request, so that until then a lost answer means `none`.
  const preparing = { ...operation, writes: false };
  const { UploadId } = await requests.run(
    preparing,
    ({ signal: abortSignal }) =>
      requests.client.send(
        new CreateMultipartUploadCommand({ Bucket, Key, Metadata, ChecksumAlgorithm: "CRC32C" }),
        { abortSignal },
      ),
    signal,
  );
  try {
    const Parts = await uploadParts(requests, put, UploadId);
    if (await taken()) throw objectExists(key);
    await requests.run(
      operation,
      ({ signal: abortSignal }) =>
        requests.client.send(
          new CompleteMultipartUploadCommand({
            ...{ Bucket, Key, UploadId, IfNoneMatch: "*" },
            MultipartUpload: { Parts: [...Parts] },
          }),
          { abortSignal },
        ),
      signal,
      lengthOf(put.parts),
    );
  } catch (error) {
    await abort(requests, put, UploadId);
    throw error;
  }
}

async function uploadParts(
  requests: S3Requests,
  put: MultipartPut,
  UploadId: string | undefined,
): Promise<readonly Uploaded[]> {
  const groups = groupsOf(put.parts, put.partBytes);
  const uploaded: Uploaded[] = [];
  const failed = new AbortController();
  const signal =
    put.signal === undefined ? failed.signal : AbortSignal.any([failed.signal, put.signal]);
  let next = 1;
  const work = async (): Promise<void> => {
    for (const group of groups) {
      const number = next++;
      uploaded[number - 1] = await uploadPart(
        requests,
        { ...put, signal },
        UploadId,
        number,
        group,
      );
      if (failed.signal.aborted) return;
    }
  };
  const workers = Array.from({ length: CONCURRENCY }, () => work());
  for (const worker of workers) worker.catch((error) => failed.abort(error));
  const results = await Promise.allSettled(workers);
  // The first failure, not those of the parts that it ended.
  if (failed.signal.aborted) throw failed.signal.reason;
  const rejected = results.find((it) => it.status === "rejected");
  if (rejected !== undefined) throw rejected.reason;
  return uploaded;
}

async function uploadPart(
  requests: S3Requests,
  put: MultipartPut,
  UploadId: string | undefined,
  PartNumber: number,
  group: readonly Uint8Array[],
): Promise<Uploaded> {
  const ContentLength = lengthOf(group);
  const ChecksumCRC32C = checksumHeader(checksumOf(group));
  const command = new UploadPartCommand({
    ...{ Bucket: requests.bucket, Key: put.objectKey, UploadId, PartNumber },
    ...{ Body: bodyOf(group), ContentLength, ChecksumCRC32C },
  });
  await signBody(requests, command, group);
  const { ETag } = await requests.run(
    { ...put.operation, writes: false },
    ({ signal: abortSignal }) => requests.client.send(command, { abortSignal }),
    put.signal,
    ContentLength,
  );
  return { PartNumber, ETag, ChecksumCRC32C };
}

/** Best effort: a bucket should have a lifecycle rule for what a crash leaves (docs/deployment.md). */
async function abort(
  requests: S3Requests,
  put: MultipartPut,
  UploadId: string | undefined,
): Promise<void> {
  const command = new AbortMultipartUploadCommand({
    ...{ Bucket: requests.bucket, Key: put.objectKey, UploadId },
  });
  try {
    await requests.run(
      { ...put.operation, doing: "aborting the upload" },
      ({ signal: abortSignal }) => requests.client.send(command, { abortSignal }),
      undefined,
    );
  } catch (error) {
    // What made the upload fail is what the caller has to know.
    if (!StreamHouseError.is(error)) throw error;
  }
}
