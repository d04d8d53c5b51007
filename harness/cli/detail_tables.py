"""A comparison on the terminal with all its figures: intervals, what stands behind them, reasons, what differed."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.analysis.compare import exit_phases
from harness.analysis.model import Comparison, Contrast, ExitRate, Figure, MetricComparison
from harness.cli.tables import STYLES, UNJUDGED, fidelity, verdict
from harness.report import words

SMALL_SHARE = 0.01  # reasons below this share of every stack's exits are shown as one line; the report has them all


def details_view(comparison: Comparison) -> RenderableType:
    """What the comparison was called on, a table for each stack against the baseline, exits by reason, odd values."""
    parts: list[RenderableType] = [fidelity(comparison), *verdict(comparison)]
    why = words.more_exits(comparison)
    parts += [Text(why)] if why else []
    parts += [Padding(_metrics_table(comparison, stack), (1, 0, 0, 0)) for stack in comparison.stacks[1:]]
    if comparison.stacks[1:]:
        parts.append(Text(words.margin(comparison), style="dim"))
    if not_judged := words.not_judged(comparison):
        parts.append(Text(not_judged, style=UNJUDGED))
    if comparison.exits:
        parts.append(Padding(_exits_table(comparison), (1, 0, 0, 0)))
    for trial in comparison.failed:
        where = f"{trial.stack} {trial.workload} on {trial.host}"
        parts.append(Text.assemble(("failed ", "red"), f"{trial.id} ({where}): {trial.failure}"))
    if comparison.failed:
        parts.append(Text(f"{len(comparison.failed)} of {comparison.trials} trials failed and count in no figure."))
    parts += [Text.assemble(("warm-up ", "yellow"), words.warm_up(found)) for found in comparison.warm_ups]
    parts += [Text.assemble(("outlier ", "yellow"), words.outlier(found)) for found in comparison.outliers]
    if comparison.differences:
        parts.append(Padding(_differences_table(comparison), (1, 0, 0, 0)))
    return Group(*parts)


def _differences_table(comparison: Comparison) -> Table:
    """What differed and why; the values only of what nothing explains, for the report has them all."""
    table = Table(
        title="What differed beside the hypervisor", title_justify="left", title_style="", box=box.SIMPLE_HEAD,
        pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("fact", overflow="fold")
    table.add_column("why", overflow="fold")
    for found in comparison.unexplained:
        table.add_row(Text(f"{found.fact} on {found.host}", "red"), Text("not explained", "bold red"))
        for stack, text in words.fact_values(found):
            table.add_row(Text(f"  {stack}"), Text(text))
        if found.drifted:
            table.add_row("", Text("changed within a stack: it is the host that changed"))
    explained: dict[str, dict[str, None]] = {}
    for found in comparison.differences:
        if found.reason:
            explained.setdefault(found.reason, {})[found.fact] = None
    for reason, facts in explained.items():
        table.add_row(Text(", ".join(facts), "dim"), Text(reason, "dim"))
    return table


def _metrics_table(comparison: Comparison, stack: str) -> Table:
    title = f"{escape(stack)} over {escape(comparison.baseline)} [dim]({comparison.fidelity})[/dim]"
    table = Table(
        title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("metric", min_width=12)
    table.add_column(escape(comparison.baseline), justify="right", no_wrap=True)
    table.add_column(escape(stack), justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", style="bold", no_wrap=True)
    table.add_column("95 % interval")
    table.add_column("verdict")
    table.add_column("boots; trials", justify="right", min_width=7)
    workload = ""
    for row in comparison.metrics:
        if row.workload != workload:
            workload = row.workload
            table.add_row(Text(workload, style="bold"))
        table.add_row(*_metric_cells(row, comparison.baseline, stack), style="" if row.judged else UNJUDGED)
    return table


def _metric_cells(row: MetricComparison, baseline: str, stack: str) -> Iterator[Text]:
    figures = [row.figure(name) for name in (baseline, stack)]
    name = words.metric_name(row.metric)
    unit = "" if row.unit == "1/s" and name.endswith("per second") else row.unit
    yield Text.assemble("  ", name, " ", (unit, "dim"))
    for figure in figures:
        yield Text(words.number(figure.mean) if figure else "–")
    contrast = row.contrast(stack)
    yield Text(words.ratio(contrast.effect) if contrast else "–")
    yield Text(words.interval(contrast.effect) if contrast else "–")
    yield _verdict(contrast) if contrast else Text("no trial succeeded")
    boots, trials = ("+".join(found) for found in zip(*(_behind(figure) for figure in figures), strict=True))
    yield Text(f"{boots}; {trials}")


def _verdict(contrast: Contrast) -> Text:
    if contrast.verdict is None:
        return Text("not judged")
    return Text(contrast.verdict, style=STYLES.get(contrast.verdict, "dim"))


def _behind(figure: Figure | None) -> tuple[str, str]:
    return (str(figure.boots), str(figure.trials)) if figure else ("0", "0")


def _exits_table(comparison: Comparison) -> Table:
    title = f"VM exits per second by reason, mean (lowest to highest boot) [dim]({comparison.fidelity})[/dim]"
    table = Table(
        title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("reason")
    for stack in comparison.stacks:
        table.add_column(escape(stack), justify="right")
    for phase in exit_phases(comparison):
        rates = [rate for rate in comparison.exits if rate.phase == phase.workload]
        counted = {stack for stack in comparison.stacks if phase.figure(stack)}
        totals = {stack: sum(rate.per_second for rate in rates if rate.stack == stack) for stack in comparison.stacks}
        sums = [words.number(total) if stack in counted else "–" for stack, total in totals.items()]
        table.add_row(Text(phase.workload, style="bold"), *(Text(text, "bold") for text in sums))
        big = [rate.reason for rate in rates if rate.per_second >= SMALL_SHARE * totals[rate.stack] > 0]
        small = {rate.reason for rate in rates} - set(big)
        if len(small) == 1:  # no shorter than its name
            big, small = [*big, *small], set()
        for reason in dict.fromkeys(big):
            cells = [_exit_cell(rates, stack, reason) if stack in counted else "–" for stack in comparison.stacks]
            table.add_row(Text(f"  {reason}"), *cells)
        if small:
            rest = {
                s: sum(r.per_second for r in rates if r.stack == s and r.reason in small) for s in comparison.stacks
            }
            sums = [words.number(total) if stack in counted else "–" for stack, total in rest.items()]
            table.add_row(Text(f"  {words.count(len(small), 'rarer reason')}", "dim"), *sums)
    return table


def _exit_cell(rates: list[ExitRate], stack: str, reason: str) -> Text:
    for rate in rates:
        if (rate.stack, rate.reason) == (stack, reason):
            spread = f" ({words.number(rate.boot_low)} to {words.number(rate.boot_high)})"
            return Text.assemble(words.number(rate.per_second), (spread, "dim"))
    return Text("0")
