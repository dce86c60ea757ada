/** What tests of lag look at: the families of an agent by their labels, and commits of groups that nobody is in. */
import type { MetadataStore } from "../../../src/metadata/metadata-store.ts";
import { catalogue, type InstrumentDescriptor } from "../../../src/telemetry/catalogue.ts";
import type { BenchAgent, BenchOptions } from "./bench-agent.ts";

/** A family's values, each under its labels as `topic/partition/group`. */
export function valuesOf(
  bench: BenchAgent,
  descriptor: InstrumentDescriptor,
): Readonly<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const family of bench.agent.telemetry.metrics.collect()) {
    if (family.descriptor !== descriptor) continue;
    for (const { attributes, cell } of family.series.values()) {
      const { topic, partition, group_id } = attributes;
      const labels = [topic, partition, group_id].filter((it) => it !== undefined).join("/");
      found[labels] = "count" in cell ? cell.count : cell.value;
    }
  }
  return found;
}

const NOBODY = { memberId: "", memberEpoch: 0 };

export function commit(
  { metadata }: { readonly metadata: MetadataStore },
  topicId: string,
  offset: number,
  { group = "g", partition = 0 }: { readonly group?: string; readonly partition?: number } = {},
): Promise<void> {
  return metadata.commitOffsets(group, NOBODY, [{ topicId, partition, offset, metadata: "" }]);
}

export const measured: Pick<BenchOptions, "telemetry"> = { telemetry: {} };

export const stop = (bench: BenchAgent): Promise<void> => bench.clock.until(bench.agent.stop());

/** Everything that a partition's holder tells of its groups. */
export const groupFamilies: readonly InstrumentDescriptor[] = [
  catalogue.groupLagRecords,
  catalogue.groupLagSeconds,
  catalogue.groupLeadRecords,
  catalogue.groupLostRecords,
  catalogue.groupLastCommit,
  catalogue.groupMembers,
];
