/**
 * The three kinds of panels that the dashboards are made of, each with what a panel here must have: a unit, a description that says
 * what to do, and where one helps a link into the runbook. Called by the dashboards beside this file.
 */
import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import {
  BigValueColorMode,
  type DataSourceRef,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from "@grafana/grafana-foundation-sdk/common";
import {
  type DashboardLink,
  DashboardLinkBuilder,
  DashboardLinkType,
  type Panel,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from "@grafana/grafana-foundation-sdk/dashboard";
import {
  PanelBuilder as Heatmap,
  HeatmapColorMode,
  HeatmapColorOptionsBuilder,
  HeatmapTooltipBuilder,
  YAxisConfigBuilder,
} from "@grafana/grafana-foundation-sdk/heatmap";
import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as Stat } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TimeSeries } from "@grafana/grafana-foundation-sdk/timeseries";

/** Whichever Prometheus the reader chooses: no data source of ours is written into the files. */
export const prometheusSource: DataSourceRef = { type: "prometheus", uid: "$datasource" };

/** What a panel asks, and what its line is called. */
export type Query = readonly [expression: string, legend: string];

export interface PanelSpec {
  readonly title: string;
  /** What it shows, and what to do when it looks wrong. */
  readonly description: string;
  readonly unit: string;
  readonly queries: readonly Query[];
  /** The alert that the panel belongs to: its section of docs/runbook.md is linked. */
  readonly runbook?: string | undefined;
  /** Where it turns orange and red; descending for panels where little is bad. */
  readonly thresholds?: readonly [orange: number, red: number] | undefined;
  /** Of 24 columns. Default 12, a stat 4. */
  readonly width?: number | undefined;
}

export interface GraphSpec extends PanelSpec {
  readonly stacked?: boolean | undefined;
  readonly max?: number | undefined;
}

const height = 8;

/** Lines over time. */
export function graph(spec: GraphSpec): Builder<Panel> {
  const panel = new TimeSeries()
    .title(spec.title)
    .description(spec.description)
    .datasource(prometheusSource)
    .unit(spec.unit)
    .min(0)
    .height(height)
    .span(spec.width ?? 12)
    .targets(spec.queries.map((query, i) => target(query, i)))
    .links(runbookLinks(spec))
    .lineWidth(1)
    .fillOpacity(spec.stacked === true ? 30 : 8)
    .showPoints(VisibilityMode.Never)
    .legend(legend)
    .tooltip(
      new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending),
    );
  if (spec.stacked === true) {
    panel.stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group("A"));
  }
  if (spec.max !== undefined) panel.max(spec.max);
  if (spec.thresholds !== undefined) {
    panel
      .thresholds(thresholds(spec.thresholds))
      .thresholdsStyle(
        new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed),
      );
  }
  return panel;
}

/** One number, now. */
export function stat(spec: PanelSpec): Builder<Panel> {
  const panel = new Stat()
    .title(spec.title)
    .description(spec.description)
    .datasource(prometheusSource)
    .unit(spec.unit)
    .height(4)
    .span(spec.width ?? 4)
    .targets(spec.queries.map((query, i) => target(query, i)))
    .links(runbookLinks(spec))
    .colorMode(BigValueColorMode.Value)
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(["lastNotNull"]).values(false).fields(""));
  return panel.thresholds(thresholds(spec.thresholds));
}

/** The whole distribution of a histogram over time: two humps are seen here and in no quantile. */
export function heatmap(spec: Omit<PanelSpec, "thresholds">): Builder<Panel> {
  return new Heatmap()
    .title(spec.title)
    .description(spec.description)
    .datasource(prometheusSource)
    .height(height)
    .span(spec.width ?? 12)
    .targets(
      spec.queries.map((query, i) =>
        target(query, i).format(PromQueryFormat.Heatmap).legendFormat("{{le}}"),
      ),
    )
    .links(runbookLinks(spec))
    .calculate(false)
    .color(
      new HeatmapColorOptionsBuilder()
        .mode(HeatmapColorMode.Scheme)
        .scheme("Spectral")
        .fill("dark-orange")
        .exponent(0.5)
        .steps(64)
        .reverse(true),
    )
    .cellGap(1)
    .yAxis(new YAxisConfigBuilder().unit(spec.unit))
    .tooltip(new HeatmapTooltipBuilder().mode(TooltipDisplayMode.Single).yHistogram(true));
}

const legend = new VizLegendOptionsBuilder()
  .displayMode(LegendDisplayMode.Table)
  .placement(LegendPlacement.Bottom)
  .showLegend(true)
  .calcs(["lastNotNull", "max"]);

function target([expression, name]: Query, index: number): DataqueryBuilder {
  return (
    new DataqueryBuilder()
      .refId(String.fromCharCode(65 + index))
      .datasource(prometheusSource)
      .expr(expression)
      // Samples with their trace, as dots over a graph of the histogram that they are from.
      .exemplar(expression.includes("_bucket{"))
      .range()
      .legendFormat(name)
  );
}

function thresholds(limits: readonly [number, number] | undefined): ThresholdsConfigBuilder {
  const absolute = new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute);
  if (limits === undefined) return absolute.steps([{ value: null, color: "green" }]);
  const [orange, red] = limits;
  return absolute.steps(
    orange <= red
      ? [
          { value: null, color: "green" },
          { value: orange, color: "orange" },
          { value: red, color: "red" },
        ]
      : [
          { value: null, color: "red" },
          { value: red, color: "orange" },
          { value: orange, color: "green" },
        ],
  );
}

/** `${runbook}` is a constant of each dashboard: where the reader keeps docs/runbook.md. */
function runbookLinks({ runbook }: PanelSpec): Builder<DashboardLink>[] {
  if (runbook === undefined) return [];
  return [
    new DashboardLinkBuilder("What to do")
      .type(DashboardLinkType.Link)
      .url(`\${runbook}#${runbook.toLowerCase()}`)
      .targetBlank(true),
  ];
}
