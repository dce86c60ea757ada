/**
 * What all dashboards share: variables, links between them, firing alerts drawn over every graph, and layout. A dashboard is rows of
 * panels; this room makes the JSON that Grafana imports. Called by `scripts/dashboards.ts`.
 */
import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import {
  AnnotationQueryBuilder,
  ConstantVariableBuilder,
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  type Panel,
  QueryVariableBuilder,
  RowBuilder,
  type VariableModel,
  VariableRefresh,
  VariableSort,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { catalogue, type InstrumentKey } from "../../src/telemetry/catalogue.ts";
import { prometheusSource } from "./panels.ts";
import { prometheusName } from "./promql.ts";

/** One row: a question that its panels answer together. */
export interface Row {
  readonly title: string;
  readonly panels: readonly Builder<Panel>[];
}

export interface DashboardSpec {
  /** File name and end of the uid. */
  readonly name: string;
  readonly title: string;
  readonly description: string;
  /** An instrument of every process that the dashboard is about: its jobs and instances are offered. */
  readonly found: InstrumentKey;
  /** An instrument whose topics are offered; without it there is no such variable. */
  readonly topics?: InstrumentKey | undefined;
  readonly groups?: InstrumentKey | undefined;
  readonly rows: readonly Row[];
}

/** Where the runbook is until the reader says otherwise: relative to this repository. */
export const runbookPath = "docs/runbook.md";

/** The dashboard as Grafana imports it. */
export function buildDashboard(spec: DashboardSpec): Dashboard {
  const builder = new DashboardBuilder(spec.title)
    .uid(`streamhouse-${spec.name}`)
    .description(spec.description)
    .tags(["streamhouse"])
    .timezone("browser")
    .refresh("30s")
    .time({ from: "now-1h", to: "now" })
    .tooltip(DashboardCursorSync.Crosshair)
    .editable()
    .link(others())
    .annotation(firingAlerts())
    .variables(variables(spec));
  for (const row of spec.rows) {
    builder.withRow(new RowBuilder(row.title));
    for (const panel of row.panels) builder.withPanel(panel);
  }
  const dashboard = builder.build();
  // Grafana 12 would hide the list of dashboards in a menu by this default of the builders.
  for (const link of dashboard.links ?? []) delete link.placement;
  // Grafana numbers panels by itself, but differently at each import: links to a panel would break.
  dashboard.panels = dashboard.panels?.map((panel, index) => ({ ...panel, id: index + 1 })) ?? [];
  const has = (dashboard.templating.list ?? []).map(({ name }) => name);
  for (const target of dashboard.panels.flatMap(targetsOf)) {
    target.expr = target.expr.replace(CHOICE, (all, name: string) =>
      has.includes(name) ? all : "",
    );
  }
  return dashboard;
}

/** What `series()` adds for a label that a variable chooses; this dashboard may not have the variable. */
const CHOICE = /, \w+=~"\$(\w+)"/g;

function targetsOf(panel: object): { expr: string }[] {
  return "targets" in panel ? (panel.targets as { expr: string }[]) : [];
}

function variables(spec: DashboardSpec): Builder<VariableModel>[] {
  const found = prometheusName(catalogue[spec.found]);
  const list: Builder<VariableModel>[] = [
    new DatasourceVariableBuilder("datasource").label("Prometheus").type("prometheus"),
    labelValues("job", "Job", bucketed(spec.found, found), "job"),
    labelValues("instance", "Instance", `${bucketed(spec.found, found)}{job=~"$job"}`, "instance"),
  ];
  if (spec.topics !== undefined) {
    const name = bucketed(spec.topics, prometheusName(catalogue[spec.topics]));
    list.push(labelValues("topic", "Topic", `${name}{job=~"$job"}`, "topic"));
  }
  if (spec.groups !== undefined) {
    const name = bucketed(spec.groups, prometheusName(catalogue[spec.groups]));
    list.push(labelValues("group", "Group", `${name}{job=~"$job"}`, "group_id"));
  }
  list.push(
    new ConstantVariableBuilder("runbook").label("Address of the runbook").value(runbookPath),
  );
  return list;
}

/** A histogram has no series by its own name. */
function bucketed(key: InstrumentKey, name: string): string {
  return catalogue[key].kind === "histogram" ? `${name}_count` : name;
}

function labelValues(name: string, label: string, series: string, key: string) {
  return (
    new QueryVariableBuilder(name)
      .label(label)
      .datasource(prometheusSource)
      .query({ query: `label_values(${series}, ${key})`, refId: `variable-${name}` })
      .definition(`label_values(${series}, ${key})`)
      .refresh(VariableRefresh.OnTimeRangeChanged)
      .sort(VariableSort.NaturalAsc)
      .multi(true)
      .includeAll(true)
      // Without it Grafana writes every value into every query.
      .allValue(".*")
      .current({ selected: true, text: ["All"], value: ["$__all"] })
  );
}

function others(): DashboardLinkBuilder {
  return new DashboardLinkBuilder("StreamHouse")
    .type(DashboardLinkType.Dashboards)
    .tags(["streamhouse"])
    .asDropdown(true)
    .includeVars(true)
    .keepTime(true);
}

function firingAlerts(): AnnotationQueryBuilder {
  return new AnnotationQueryBuilder()
    .name("Firing alerts")
    .datasource(prometheusSource)
    .enable(true)
    .iconColor("red")
    .expr('ALERTS{alertname=~"StreamHouse.+", alertstate="firing"}')
    .titleFormat("{{alertname}}")
    .textFormat("{{topic}} {{group_id}} {{instance}}")
    .step("30s");
}
