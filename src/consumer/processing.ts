/** The application's work on one record, inside a CONSUMER span linked to the record's own trace. Called by `consumer.process`. */
import type { ConsumerRecord } from "../core/record.ts";
import { endSpan, startProcessSpan, withSpan } from "../telemetry/spans.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";

export function processRecord<T>(
  telemetry: Telemetry,
  group: string | undefined,
  record: ConsumerRecord,
  fn: (record: ConsumerRecord) => T | Promise<T>,
): Promise<T> {
  const { topic, partition, offset, headers } = record;
  const span = startProcessSpan(telemetry, { topic, partition, offset, headers, group });
  return withSpan(span, async () => {
    try {
      const result = await fn(record);
      endSpan(span);
      return result;
    } catch (error) {
      endSpan(span, error);
      throw error;
    }
  });
}
