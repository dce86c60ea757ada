/** Chunks of one run, appended to files of its own. */
import type { Clock } from "../core/clock.ts";
import { closed } from "../core/errors.ts";
import type { SegmentSink } from "./segment-sink.ts";

export interface FolderSinkComponents {
  /** The same directory as the folder store's: chunks are read through it by key. */
  readonly dir: string;
  readonly runId: string;
  readonly clock: Clock;
}

export interface FolderSinkOptions {
  /** A file is rolled when it would grow beyond this. Default `limits.segmentFileBytesMax`. */
  readonly fileBytesMax?: number;
}

export function createFolderSink(
  _components: FolderSinkComponents,
  _options: FolderSinkOptions = {},
): SegmentSink {
  throw closed("folder sink (not written yet)");
}
