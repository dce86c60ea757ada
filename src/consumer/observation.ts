/**
 * What happens when somebody collects a consumer's metrics: counters are brought up to what was handed out, gauges are set, and the
 * audit compares them with how far the cursors are. docs/decisions/0004-self-audit.md says why its laws are sound. Made by
 * `consumer-rooms.ts`.
 */
import { Audit, apart, type Exported, type Law } from "../telemetry/audit.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { MetricRegistry } from "../telemetry/cells.ts";
import type { Assignment } from "./assignment.ts";

export interface ObservationComponents {
  readonly metrics: MetricRegistry;
  readonly group: string | undefined;
  readonly assignment: Assignment;
  /** Brings the counters up to what was handed out. */
  readonly count: () => void;
}

/** Observes at each collection until the answered function is called. */
export function observeConsumer(parts: ObservationComponents): () => void {
  const { metrics, assignment, count } = parts;
  const audit = new Audit(metrics, (exported) => laws(exported, parts));
  return metrics.onCollect(() => {
    count();
    for (const cursor of assignment.cursors) cursor.cells.currentOffset.set(cursor.position);
    audit.check();
  });
}

function laws(exported: Exported, { metrics, group, assignment }: ObservationComponents): Law[] {
  return [
    {
      name: "records_consumed",
      discrepancy: () => {
        const handedOut = new Map(assignment.handedOut);
        for (const { topic, handedOut: records } of assignment.cursors) {
          handedOut.set(topic, (handedOut.get(topic) ?? 0) + records);
        }
        return apart(exported.by(catalogue.recordsConsumed, "topic", "value"), handedOut);
      },
    },
    {
      name: "committed",
      discrepancy: () => {
        let off = 0;
        for (const { topic, partition, committed, reached } of assignment.cursors) {
          if (committed < 0) continue;
          const labels = { topic, partition, group_id: group ?? "" };
          const exportedOffset = metrics.gauge(catalogue.lastCommittedOffset, labels).value;
          off += Math.abs(exportedOffset - committed) + Math.max(0, committed - reached);
        }
        return off;
      },
    },
  ];
}
