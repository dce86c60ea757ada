/** Whether the other dashboards can be believed: what was lost, what is stale, what contradicts itself. */
import * as units from "@grafana/grafana-foundation-sdk/units";
import type { DashboardSpec, Row } from "./dashboard.ts";
import { graph, heatmap, stat } from "./panels.ts";
import { buckets, increase, max, quantile, rate, sum } from "./promql.ts";

const truth: Row = {
  title: "Can the numbers be believed?",
  panels: [
    stat({
      title: "Audit discrepancy",
      description:
        "Two counts that must be equal are this far apart. 0, or the telemetry has a defect.",
      unit: units.Short,
      queries: [[`max(abs(${max("auditDiscrepancy", ["law"])}))`, "greatest"]],
      thresholds: [0.000_001, 1],
      runbook: "StreamHouseAuditDiscrepancy",
      width: 8,
    }),
    stat({
      title: "Age of the lag values",
      description: "At most 5 s. Older: the agent cannot read metadata, and lag is old news.",
      unit: units.Seconds,
      queries: [[max("lagAge", []), "oldest"]],
      thresholds: [6, 15],
      runbook: "StreamHouseLagStale",
      width: 8,
    }),
    stat({
      title: "Series of one process",
      description:
        "At the last collection, the greatest. See cardinality in docs/observability.md.",
      unit: units.Short,
      queries: [[max("telemetrySeries", []), "series"]],
      thresholds: [10_000, 20_000],
      runbook: "StreamHouseTelemetryDropping",
      width: 8,
    }),
    graph({
      title: "Audit discrepancy, by law",
      description:
        "Records sent, written and stored must agree. Please report a law that does not hold.",
      unit: units.Short,
      queries: [[max("auditDiscrepancy", ["law"]), "{{law}}"]],
      runbook: "StreamHouseAuditDiscrepancy",
    }),
    graph({
      title: "Age of the lag values, and failed refreshes",
      description: "Old values stay when a refresh fails.",
      unit: units.Seconds,
      queries: [
        [max("lagAge", ["instance"]), "{{instance}}"],
        [rate("lagRefreshErrors", ["instance"]), "failed refreshes a second: {{instance}}"],
      ],
      runbook: "StreamHouseLagStale",
    }),
  ],
};

const losses: Row = {
  title: "What was lost",
  panels: [
    graph({
      title: "Spans that were never exported",
      description: "Queue full: sample less, or give the exporter a nearer collector.",
      unit: units.Short,
      queries: [[increase("spansDropped", ["instance", "reason"]), "{{instance}} {{reason}}"]],
      runbook: "StreamHouseTelemetryDropping",
    }),
    graph({
      title: "Exports that failed",
      description: "The OTLP endpoint is down or refuses. Records are not affected.",
      unit: units.Short,
      queries: [[increase("exportFailures", ["instance", "signal"]), "{{instance}} {{signal}}"]],
      runbook: "StreamHouseTelemetryDropping",
    }),
    graph({
      title: "Series folded away",
      description:
        "A family is over its limit: counters fold into one series, lag loses its partition.",
      unit: units.Short,
      queries: [[increase("seriesOverflow", ["instance", "family"]), "{{instance}} {{family}}"]],
      runbook: "StreamHouseTelemetryDropping",
    }),
    graph({
      title: "Failures while collecting",
      description: "A callback threw, or samples were too many for an SDK that came late.",
      unit: units.Short,
      queries: [
        [increase("collectErrors", ["instance"]), "{{instance}} callbacks"],
        [increase("samplesLost", ["instance"]), "{{instance}} samples before a late SDK"],
      ],
      runbook: "StreamHouseTelemetryDropping",
    }),
  ],
};

const scrapes: Row = {
  title: "Scrapes",
  panels: [
    graph({
      title: "Scrapes, by outcome",
      description: "late and overloaded: too many scrapers, or a process that is too busy.",
      unit: units.OpsPerSecond,
      width: 8,
      queries: [[rate("scrapes", ["outcome"]), "{{outcome}}"]],
      runbook: "StreamHouseTelemetryDropping",
    }),
    graph({
      title: "Scrape duration",
      description: "Collecting and writing, in the process; and what Prometheus waited.",
      unit: units.Seconds,
      width: 8,
      queries: [
        [quantile(0.99, "scrapeDuration", ["instance"]), "p99 {{instance}}"],
        [
          'max by (instance) (scrape_duration_seconds{job=~"$job", instance=~"$instance"})',
          "Prometheus {{instance}}",
        ],
      ],
    }),
    heatmap({
      title: "Scrape duration, all of it",
      description: "Grows with the series.",
      unit: units.Seconds,
      width: 8,
      queries: [[buckets("scrapeDuration"), "{{le}}"]],
    }),
    graph({
      title: "Series, by process",
      description: "What one process says of itself.",
      unit: units.Short,
      queries: [[sum("telemetrySeries", ["instance"]), "{{instance}}"]],
    }),
    graph({
      title: "Samples that Prometheus took, and targets that answer",
      description: "A histogram's buckets count one each here. up at 0: the scrape failed.",
      unit: units.Short,
      queries: [
        [
          'sum by (instance) (scrape_samples_scraped{job=~"$job", instance=~"$instance"})',
          "samples {{instance}}",
        ],
        ['sum by (job) (up{job=~"$job", instance=~"$instance"})', "up {{job}}"],
      ],
      runbook: "StreamHouseAgentDown",
    }),
  ],
};

export const telemetryHealth: DashboardSpec = {
  name: "telemetry-health",
  title: "StreamHouse / Telemetry health",
  description: "Whether the other dashboards can be believed.",
  found: "telemetrySeries",
  rows: [truth, losses, scrapes],
};
