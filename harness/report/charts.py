"""Figures as inline SVG: Vega-Altair specifications, rendered by vl-convert without a browser or a network."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt
import vl_convert

from harness.analysis.compare import exit_phases
from harness.analysis.model import Comparison, ExitRate
from harness.report.words import count, number

# Distinguishable to colour-blind readers on light and dark ground: Paul Tol's "muted" scheme
# (https://personal.sron.nl/~pault/), lightened where it would vanish on a dark page.
COLOURS = ("#5a6fc0", "#d98a3d", "#44aa99", "#cc6677", "#b5a642", "#88ccee", "#aa4499", "#6b9e4a")
OTHER = "other"
OTHER_COLOUR = "#8b8f98"
# Vega's own "s" format writes 0 as "0k" beside thousands, and 0.5 as "500m".
TICK = "datum.value >= 1000 ? format(datum.value / 1000, '~g') + 'k' : format(datum.value, '~g')"
WIDTH = 330  # px; the cards of the page are about as wide, on phones as well


@dataclass(frozen=True)
class Figure:
    """One chart. `label` says in words what it shows, for those who cannot see it."""

    title: str
    svg: str
    label: str


def exit_colours(comparison: Comparison) -> dict[str, str]:
    """A colour for each of the most frequent reasons, the same in every figure; the rest are `other`."""
    weight: dict[str, float] = defaultdict(float)
    totals: dict[str, float] = defaultdict(float)
    for rate in comparison.exits:
        totals[rate.phase] += rate.per_second
    for rate in comparison.exits:
        # By share of the phase: boot's rates would otherwise drown what matters at rest.
        weight[rate.reason] += rate.per_second / totals[rate.phase] if totals[rate.phase] else 0
    ranked = sorted(weight, key=lambda reason: -weight[reason])
    colours = dict(zip(ranked, COLOURS, strict=False))
    return {**colours, OTHER: OTHER_COLOUR} if len(ranked) > len(COLOURS) else colours


def exit_figures(comparison: Comparison, colours: Mapping[str, str]) -> tuple[Figure, ...]:
    """For each phase, a bar of exits per second by reason for each stack. Each figure has a scale of its own.

    A stack whose trials counted no exit has its place and a 0; none where nothing counted any.
    """
    found = []
    for number_, row in enumerate(exit_phases(comparison) if comparison.exits else ()):
        rates = [rate for rate in comparison.exits if rate.phase == row.workload]
        stacks = [figure.stack for figure in row.figures]
        svg = _exits_svg(rates, stacks, colours, f"f{number_}-")
        found.append(Figure(row.workload, svg, _exits_label(row.workload, rates, stacks)))
    return tuple(found)


def _exits_svg(rates: Sequence[ExitRate], shown: Sequence[str], colours: Mapping[str, str], prefix: str) -> str:
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for rate in rates:
        sums[rate.stack, rate.reason if rate.reason in colours else OTHER] += rate.per_second
    order = list(colours)
    bars = [
        {"stack": stack, "reason": reason, "rate": value, "order": order.index(reason)}
        for (stack, reason), value in sums.items()
    ]
    total = {stack: sum(value for (found, _reason), value in sums.items() if found == stack) for stack in shown}
    totals = [{"stack": stack, "rate": value, "text": number(value)} for stack, value in total.items()]
    y = alt.Y(
        "stack:N",
        sort=list(shown),
        title=None,
        axis=alt.Axis(labelLimit=110, labelPadding=7, ticks=False, domain=False),
    )
    bar = (
        alt.Chart(alt.InlineData(values=bars))
        .mark_bar(height={"band": 0.62})
        .encode(
            x=alt.X(
                "rate:Q",
                title="VM exits per second",
                axis=alt.Axis(tickCount=4, labelExpr=TICK, domain=False, ticks=False),
                # Room for the totals at the bars' ends.
                scale=alt.Scale(domain=[0, (max(total.values()) or 1) * 1.2], nice=False),
            ),
            y=y,
            color=alt.Color(
                "reason:N", scale=alt.Scale(domain=order, range=[colours[reason] for reason in order]), legend=None
            ),
            order=alt.Order("order:Q"),
        )
    )
    text = (
        alt.Chart(alt.InlineData(values=totals))
        .mark_text(align="left", dx=5, fontWeight="bold", color="currentColor")
        .encode(x="rate:Q", y=y, text="text:N")
    )
    chart = (
        alt.layer(bar, text)
        .properties(width=WIDTH - 90, height={"step": 34}, background="transparent", padding=4)
        .configure(font="sans-serif")
        .configure_axis(
            labelColor="currentColor",
            titleColor="currentColor",
            gridColor="currentColor",
            gridOpacity=0.15,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_axisY(grid=False)
        .configure_view(stroke=None)
    )
    return _inline(vl_convert.vegalite_to_svg(chart.to_dict()), prefix)


def _inline(svg: str, prefix: str) -> str:
    """Make a stand-alone SVG fit into a page: ids of its own, width by the page, text for readers on the figure."""
    svg = re.sub(r"^<\?xml[^>]*\?>\s*", "", svg)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", svg)
    svg = re.sub(r'(<svg\b[^>]*?) width="(\d+(?:\.\d+)?)" height="[^"]*"', r'\1 style="max-width:\2px"', svg, count=1)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _exits_label(phase: str, rates: Sequence[ExitRate], stacks: Sequence[str]) -> str:
    parts = []
    for stack in stacks:
        own = [rate for rate in rates if rate.stack == stack]
        if not own:
            parts.append(f"{stack}: none")
            continue
        most = ", ".join(f"{rate.reason} {number(rate.per_second)}" for rate in own[:4])
        total = number(sum(rate.per_second for rate in own))
        parts.append(f"{stack}: {total} per second in all ({count(len(own), 'reason')}; most: {most})")
    return f"VM exits per second in {phase}. {'. '.join(parts)}."
