"""What all dashboards share: variables, kinds of panels, colours, links."""

from __future__ import annotations

from typing import TypeVar

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    TextBoxVariable,
    ThresholdsConfig,
)
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "nohype"
GOOD, BAD, NOTICE = "green", "red", "orange"
# A stack has one colour on all dashboards. The names end the legends.
STACK_COLOURS = {
    "bare": "light-yellow",
    "kvm": "blue",
    "kvm-tuned": "purple",
    "nohype": "green",
    "xen": "orange",
    "xen-pvh": "light-orange",
    "xen-tuned": "dark-orange",
}

Coloured = TypeVar("Coloured", timeseries.Panel, barchart.Panel, bargauge.Panel, stat.Panel)


def dashboard(uid: str, title: str, description: str, since: str) -> Dashboard:
    """Empty, with the variable `datasource` and links to the other dashboards."""
    links = (
        DashboardLink("NoHype")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    return (
        Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .time(since, "now")
        .timezone("browser")
        .refresh("1m")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(links)
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )


def variable(name: str, label: str, query: str, *, several: bool = True, newest_first: bool = False) -> QueryVariable:
    """Values of a label, asked anew when the time range changes; `several` of them, or one."""
    made = (
        QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_DESC if newest_first else VariableSort.ALPHABETICAL_ASC)
    )
    # Unlike "all values there are now", .* also takes those that have come since.
    return made.multi(True).include_all(True).all_value(".*") if several else made


def text_variable(name: str, label: str, default: str, description: str) -> TextBoxVariable:
    return TextBoxVariable(name).label(label).default_value(default).description(description)


def series(expr: str, legend: str, ref: str = "A") -> prometheus.Dataquery:
    """A query over the time range."""
    return prometheus.Dataquery().datasource(SOURCE).expr(expr).legend_format(legend).ref_id(ref).range()


def now(expr: str, legend: str = "", ref: str = "A") -> prometheus.Dataquery:
    """A query for the end of the time range."""
    return prometheus.Dataquery().datasource(SOURCE).expr(expr).legend_format(legend).ref_id(ref).instant()


def rows(expr: str, ref: str = "A") -> prometheus.Dataquery:
    """Like `now`, with a column for each label."""
    return now(expr, ref=ref).format(PromQueryFormat.TABLE)


def lines(title: str, description: str, unit: str, *queries: prometheus.Dataquery) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(kinds.LegendDisplayMode.TABLE)
        .placement(kinds.LegendPlacement.BOTTOM)
        .calcs(["mean", "lastNotNull"])
    )
    made = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .targets(list(queries))
        .unit(unit)
        .height(9)
        .span(12)
        .line_width(2)
        .fill_opacity(8)
        .show_points(kinds.VisibilityMode.AUTO)
        .span_nulls(True)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
    )
    return stack_colours(made)


def number(title: str, description: str, unit: str, *queries: prometheus.Dataquery) -> stat.Panel:
    """The last value of each query, large."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .targets(list(queries))
        .unit(unit)
        .height(4)
        .span(4)
        .color_mode(kinds.BigValueColorMode.VALUE)
        .graph_mode(kinds.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(steps({None: "text"}))
    )


def gauges(title: str, description: str, unit: str, *queries: prometheus.Dataquery) -> bargauge.Panel:
    """A horizontal bar for each series."""
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .targets(list(queries))
        .unit(unit)
        .height(9)
        .span(12)
        .min(0)
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(steps({None: "blue"}))
    )


def side_by_side(title: str, description: str, unit: str, expr: str, row: str) -> barchart.Panel:
    """Bars of every stack beside each other, for each value of the label `row`."""
    matrix = {"columnField": "stack", "rowField": row, "valueField": "Value", "emptyValue": "null"}
    made = (
        barchart.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .targets([rows(expr)])
        .with_transformation(DataTransformerConfig("groupingToMatrix", options=matrix))
        .unit(unit)
        .height(9)
        .span(12)
        .orientation(kinds.VizOrientation.VERTICAL)
        .show_value(kinds.VisibilityMode.NEVER)
        .stacking(kinds.StackingMode.NONE)
        .fill_opacity(80)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM)
        )
    )
    return stack_colours(made)


def grid(
    title: str, description: str, unit: str, *queries: prometheus.Dataquery, columns: dict[str, str]
) -> table.Panel:
    """A table: the queries' values side by side, joined by their labels. `columns`: field -> heading, in order."""
    order = {name: place for place, name in enumerate(columns)}
    tidy = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": columns}
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .targets(list(queries))
        .with_transformation(DataTransformerConfig("merge", options={}))
        .with_transformation(DataTransformerConfig("organize", options=tidy))
        .unit(unit)
        .align(kinds.FieldTextAlignment.AUTO)
        .height(9)
        .span(12)
    )


def states(
    title: str, description: str, mapping: dict[int, tuple[str, str]], query: prometheus.Dataquery
) -> statetimeline.Panel:
    """A coloured line through time for each series. `mapping`: value -> words, colour."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .targets([query])
        .unit("none")
        .mappings([value_map(mapping)])
        .height(9)
        .span(12)
        .show_value(kinds.VisibilityMode.NEVER)
        .merge_values(True)
        .fill_opacity(80)
    )


def heat_rows(title: str, description: str, unit: str, query: prometheus.Dataquery) -> heatmap.Panel:
    """A row for each series, its colour the value."""
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .targets([query])
        .unit(unit)
        .height(11)
        .span(24)
        .calculate(False)
        .scale_distribution(common.ScaleDistributionConfig().type(kinds.ScaleDistribution.LINEAR))
        .cell_gap(1)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heat.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .scale(heat.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.3)
            .steps(64)
            .fill("dark-orange")
        )
        .cell_values(heatmap.CellValues().unit(unit))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(kinds.HeatmapCellLayout.UNKNOWN))
        .mode(kinds.TooltipDisplayMode.SINGLE)
        .show_color_scale(True)
        .show_legend()
        .show_value(kinds.VisibilityMode.NEVER)
    )


def per_second(exits: str, seconds: str, by: str) -> str:
    """Exits over time, both summed. A stack without any exit, which has no counter for one, has the rate 0."""
    return f"(sum by ({by}) ({exits}) or 0 * sum by ({by}) ({seconds})) / sum by ({by}) ({seconds})"


def value_map(mapping: dict[int, tuple[str, str]]) -> ValueMap:
    return ValueMap(
        {
            str(value): ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(mapping.items())
        }
    )


def steps(colours: dict[float | None, str]) -> ThresholdsConfig:
    """From each value on its colour; None is the least."""
    found = [Threshold(value=value, color=colour) for value, colour in colours.items()]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def none_is_good() -> ThresholdsConfig:
    return steps({None: GOOD, 1: BAD})


def stack_colours(panel: Coloured) -> Coloured:
    """Series whose name ends in a stack's get its colour."""
    for stack, colour in STACK_COLOURS.items():
        fixed = {"mode": FieldColorModeId.FIXED, "fixedColor": colour}
        panel.override_by_regexp(f"/(^| ){stack}$/", [DynamicConfigValue("color", fixed)])
    return panel
