/** `AgentApi.listOffsets`: offsets by position or by time, from the index (and one share of the store for times). */
import { asStreamHouseError, invalid, StreamHouseError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type {
  ListOffsetsPartition,
  ListOffsetsRequest,
  ListOffsetsResponse,
  PartitionOffset,
} from "../rpc/gen/streamhouse/v1/consumer.ts";
import { toErrorDetail } from "../rpc/status.ts";
import { offsetAtTime } from "./batch-walk.ts";
import type { PartitionFinder } from "./partition-finder.ts";
import type { PartitionLog } from "./partition-log.ts";
import type { ShareReader } from "./share-reader.ts";

export interface ListOffsetsComponents {
  readonly finder: PartitionFinder;
  readonly reader: ShareReader;
}

const LATEST = -1;
const EARLIEST = -2;

/** @throws StreamHouseError `INVALID_ARGUMENT`, `REQUEST_TOO_LARGE`; what concerns one partition is in its answer */
export async function listOffsets(
  request: ListOffsetsRequest,
  components: ListOffsetsComponents,
): Promise<ListOffsetsResponse> {
  const { partitions } = request;
  if (partitions.length > limits.partitionsPerRequestMax) {
    throw invalid(
      "REQUEST_TOO_LARGE",
      `${partitions.length} partitions in one request, the limit is ${limits.partitionsPerRequestMax}`,
      { field: "partitions" },
    );
  }
  partitions.forEach((it, i) => {
    if (Number.isSafeInteger(it.timestampMs) && it.timestampMs >= EARLIEST) return;
    throw invalid(
      "INVALID_ARGUMENT",
      `partitions[${i}].timestamp_ms is ${it.timestampMs}: expected -1 (latest), -2 (earliest) or ms since 1970`,
      { field: `partitions[${i}].timestamp_ms` },
    );
  });
  return { offsets: await Promise.all(partitions.map((it) => answerOne(it, components))) };
}

async function answerOne(
  asked: ListOffsetsPartition,
  components: ListOffsetsComponents,
): Promise<PartitionOffset> {
  const { topicId, partition } = asked;
  try {
    return { topicId, partition, offset: await findOffset(asked, components), error: undefined };
  } catch (thrown) {
    const error = toErrorDetail(asStreamHouseError(thrown, "looking an offset up"));
    return { topicId, partition, offset: -1, error };
  }
}

async function findOffset(
  asked: ListOffsetsPartition,
  { finder, reader }: ListOffsetsComponents,
): Promise<number> {
  const { timestampMs } = asked;
  const { log } = await finder.findNewest(asked);
  if (timestampMs === LATEST) return log.highWatermark;
  if (timestampMs === EARLIEST) return log.logStart;
  try {
    return await offsetByTime(log, timestampMs, reader);
  } catch (error) {
    if (!StreamHouseError.is(error) || error.code !== "OBJECT_NOT_FOUND") throw error;
    // Merged or deleted meanwhile: the index says where it is now, or what comes after it.
    await finder.lookAgain(asked);
    return offsetByTime(log, timestampMs, reader);
  }
}

async function offsetByTime(
  log: PartitionLog,
  timestampMs: number,
  reader: ShareReader,
): Promise<number> {
  let at = log.findTime(timestampMs);
  for (;;) {
    const share = at === undefined ? undefined : log.share(at);
    if (at === undefined || share === undefined) return log.highWatermark;
    const read = await reader.read(log, at, share.length);
    const bytes = read[0]?.bytes ?? new Uint8Array(0);
    const offset = offsetAtTime(bytes, timestampMs, log.logStart);
    if (offset !== undefined) return Math.max(offset, log.logStart);
    // Only where the log start lies within the share are the records that it was found for below the log start.
    at = log.find(share.endOffset);
  }
}
