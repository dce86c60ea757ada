/** A row of the consumers' dashboard: what `consumer.run` does with the handlers of the applications. */
import * as units from "@grafana/grafana-foundation-sdk/units";
import type { Row } from "./dashboard.ts";
import { graph, heatmap } from "./panels.ts";
import { buckets, max, quantile, rate, sum } from "./promql.ts";

const group = ["group_id"] as const;
const groupTopic = ["group_id", "topic"] as const;
const both = "{{group_id}} {{topic}}";

export const handlers: Row = {
  title: "Handlers (consumer.run)",
  panels: [
    graph({
      title: "Records that are over, by outcome",
      description:
        "done, or dead_lettered: given up after its attempts. uncommitted: the run ended or the partition went, and another member gets it.",
      unit: units.RecordsPerSecond,
      width: 8,
      queries: [[rate("runRecords", [...groupTopic, "outcome"]), `${both} {{outcome}}`]],
      runbook: "StreamHouseDeadLetters",
    }),
    graph({
      title: "Attempts that failed, and records put off",
      description: "By what the handler threw. A burst: something behind the handlers was away.",
      unit: units.OpsPerSecond,
      width: 8,
      queries: [
        [rate("runRetries", [...groupTopic, "error_type"]), `${both} {{error_type}}`],
        [rate("runPutOff", groupTopic), `${both} put off`],
      ],
      runbook: "StreamHouseDeadLetters",
    }),
    graph({
      title: "Dead letters that could not be written",
      description: "The run ends, and the record is not committed: is the topic there?",
      unit: units.RecordsPerSecond,
      width: 8,
      queries: [
        [rate("runDeadLetterErrors", [...groupTopic, "error_type"]), `${both} {{error_type}}`],
      ],
      runbook: "StreamHouseDeadLetterErrors",
    }),
    graph({
      title: "One call of a handler",
      description: "Times concurrency: the most that a member can do in a second.",
      unit: units.Seconds,
      queries: [
        [quantile(0.5, "runHandlerDuration", groupTopic), `p50 ${both}`],
        [quantile(0.99, "runHandlerDuration", groupTopic), `p99 ${both}`],
      ],
      runbook: "StreamHouseLagGrowing",
    }),
    heatmap({
      title: "One call of a handler, all of it",
      description: "A second band: one kind of records is slow, or what they call is.",
      unit: units.Seconds,
      queries: [[buckets("runHandlerDuration"), "{{le}}"]],
    }),
    graph({
      title: "In the members' hands",
      description:
        "Waiting and few in flight: all are of one key, or blocked behind one that fails. In flight at its limit: more concurrency.",
      unit: units.Short,
      queries: [
        [sum("runInFlight", group), "{{group_id}} in flight"],
        [sum("runBlocked", group), "{{group_id}} for another attempt"],
        [sum("runWaiting", group), "{{group_id}} waiting"],
      ],
      runbook: "StreamHouseLagGrowing",
    }),
    graph({
      title: "Oldest record that is not over",
      description:
        "Since its first attempt. Rising by 1 s/s: a handler hangs; set handlerTimeoutMs.",
      unit: units.Seconds,
      queries: [[max("runOldest", group), "{{group_id}}"]],
      runbook: "StreamHouseLagSecondsHigh",
    }),
  ],
};
