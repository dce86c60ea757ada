/**
 * The producer's conservation laws: what it exports against what it took, what it holds, and what it gave up. Each is exact at any
 * moment of JavaScript's single thread; docs/decisions/0004-self-audit.md says why. Made with the producer's parts, checked at each
 * collection.
 */
import { Audit, type Exported, type Law } from "../telemetry/audit.ts";
import { catalogue } from "../telemetry/catalogue.ts";
import type { MetricRegistry } from "../telemetry/cells.ts";
import type { Accumulator } from "./accumulator.ts";
import type { Answers } from "./answers.ts";

export interface ProducerAuditComponents {
  readonly metrics: MetricRegistry;
  readonly accumulator: Accumulator;
  readonly answers: Answers;
}

export function createProducerAudit(parts: ProducerAuditComponents): Audit {
  return new Audit(parts.metrics, (exported) => laws(exported, parts));
}

function laws(exported: Exported, parts: ProducerAuditComponents): Law[] {
  const { accumulator, answers } = parts;
  const { batchFlushDuration, batchSizeBytes, batchSizeRecords, bytesSent } = catalogue;
  const { pendingRecords, recordsSent, sendErrors } = catalogue;
  return [
    {
      name: "records_sent",
      discrepancy: () => {
        const sent = exported.total(recordsSent, "value");
        const failed = exported.total(sendErrors, "value");
        const pending = exported.total(pendingRecords, "value");
        return Math.abs(sent + failed + pending - accumulator.takenEver);
      },
    },
    {
      name: "pending_records",
      discrepancy: () => {
        let held = 0;
        for (const batch of accumulator.live.keys()) held += batch.unsettled;
        for (const waiter of accumulator.line) held += waiter.unplaced;
        let negative = 0;
        for (const n of exported.by(pendingRecords, "topic", "value").values()) {
          negative += Math.max(0, -n);
        }
        return Math.abs(exported.total(pendingRecords, "value") - held) + negative;
      },
    },
    {
      name: "batches_sent",
      discrepancy: () => {
        let open = 0;
        for (const batch of accumulator.live.keys()) if (batch.attempts > 0) open++;
        const begun = exported.total(batchSizeRecords, "samples");
        return Math.abs(begun - exported.total(batchFlushDuration, "samples") - open);
      },
    },
    {
      name: "bytes_sent",
      discrepancy: () => {
        let open = 0;
        for (const batch of accumulator.live.keys())
          if (batch.attempts > 0) open += batch.sizeBytes;
        const settled = exported.total(bytesSent, "value") + answers.bytesGivenUp;
        return Math.abs(exported.total(batchSizeBytes, "value") - settled - open);
      },
    },
  ];
}
