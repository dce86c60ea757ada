/** What agents measure of merging, deleting and sweeping: the log's upkeep in the background. Part of the catalogue. */
import { define, type InstrumentDescriptor, SECONDS } from "./instrument.ts";

export type CompactionInstrumentKey =
  | "compactionMerges"
  | "compactionRecords"
  | "compactionBytes"
  | "compactionDuration"
  | "compactionBacklogBytes"
  | "compactionBacklogSeconds"
  | "indexShares"
  | "indexUnmergedShares"
  | "objectsDeleted"
  | "objectsDoomed"
  | "sweepObjects"
  | "sweepErrors";

export const compactionInstruments: Readonly<
  Record<CompactionInstrumentKey, InstrumentDescriptor>
> = {
  compactionMerges: define(
    "counter",
    "streamhouse.compaction.merges",
    "{merge}",
    "Merges of a partition's flush shares into one segment: committed, fenced, stale, swept, or the error's code",
    ["outcome"],
  ),
  compactionRecords: define(
    "counter",
    "streamhouse.compaction.records",
    "{record}",
    "Records in merged segments that this agent committed",
    ["topic"],
  ),
  compactionBytes: define(
    "counter",
    "streamhouse.compaction.bytes",
    "By",
    "Bytes of merged segments that this agent committed",
    ["topic"],
  ),
  compactionDuration: define(
    "histogram",
    "streamhouse.compaction.duration.seconds",
    "s",
    "From the first flush object read for a round of merging to its last segment's commit",
    [],
    SECONDS,
  ),
  compactionBacklogBytes: define(
    "gauge",
    "streamhouse.compaction.backlog.bytes",
    "By",
    "Committed bytes of held partitions that are not merged, at the last look; of each no more than makes it due",
    [],
  ),
  compactionBacklogSeconds: define(
    "gauge",
    "streamhouse.compaction.backlog.seconds",
    "s",
    "Age of the oldest record of held partitions that is not merged, at the last look",
    [],
  ),
  indexShares: define(
    "gauge",
    "streamhouse.index.shares",
    "{share}",
    "Flush shares and pieces of merged segments in the index, which each agent has of the whole log; about 64 bytes each",
    [],
  ),
  indexUnmergedShares: define(
    "gauge",
    "streamhouse.index.unmerged.shares",
    "{share}",
    "Those of them that are not merged, held here or elsewhere",
    [],
  ),
  objectsDeleted: define(
    "counter",
    "streamhouse.objects.deleted",
    "{object}",
    "Objects deleted: dead (expired or merged, after the grace), abandoned (written for nothing), orphan (swept)",
    ["reason"],
  ),
  objectsDoomed: define(
    "gauge",
    "streamhouse.objects.doomed",
    "{object}",
    "Dead objects in metadata that wait for their deletion, counted up to 1,000; every agent shows all",
    [],
  ),
  sweepObjects: define(
    "counter",
    "streamhouse.sweep.objects",
    "{object}",
    "Objects of the store that were looked at in the search for orphans",
    [],
  ),
  sweepErrors: define(
    "counter",
    "streamhouse.sweep.errors",
    "{error}",
    "Searches for orphans that failed; the next one begins anew",
    [],
  ),
};
