"""A comparison on one screen of a terminal: 80 columns for three stacks, 40 lines for those and six workloads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.analysis.exit_table import ExitTable, WorkloadExits
from harness.analysis.model import Comparison, Contrast, MetricComparison, Verdict
from harness.report import words

STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "red", Verdict.DIFFERENT: "cyan"}
UNJUDGED = "bright_black"
MARKS = {
    Verdict.BETTER: "✓",
    Verdict.WORSE: "✗",
    Verdict.DIFFERENT: "≠",
    Verdict.NO_DIFFERENCE: "=",
    Verdict.NOT_DECIDED: "?",
    Verdict.TOO_FEW: "·",
    Verdict.NO_RATIO: "/",
}
_STACKS_ABREAST = 2  # beside the baseline, in the table of metrics: more would not fit 80 columns
_FAILED_SHOWN = 1


def exit_table_view(table: ExitTable, comparison: Comparison | None = None) -> RenderableType:
    """Workload by stack; a dash where nothing was measured (yet). With a comparison, each figure has its verdict."""
    view = _table("workload")
    for stack in table.stacks:
        view.add_column(Text(stack), justify="right")
    judged = {(row.workload, row.metric): row for row in comparison.metrics} if comparison else {}
    for row in table.rows:
        found = judged.get((row.workload, row.metric))
        view.add_row(Text(row.workload), *_exit_cells(row, table.stacks, found))
    return Group(Text(f"{words.EXIT_TABLE}, {words.boots(table)}"), view)


def comparison_view(comparison: Comparison) -> RenderableType:
    """What a reader needs first; `details_view` and the report have the rest."""
    parts: list[RenderableType] = [
        fidelity(comparison),
        Padding(exit_table_view(comparison.exit_table, comparison), (1, 0)),
        *verdict(comparison),
    ]
    why = words.more_exits(comparison)
    parts += [Text(why)] if why else []
    rows = [row for row in comparison.metrics if row.metric not in words.EXIT_METRICS]
    others = comparison.stacks[1:]
    for start in range(0, max(len(others), 1), _STACKS_ABREAST):
        parts += [_metrics_table(comparison, rows, others[start : start + _STACKS_ABREAST])] if rows else []
    if others:
        parts.append(_legend(comparison))
    parts += _troubles(comparison)
    return Group(*parts)


def fidelity(comparison: Comparison) -> Text:
    """What the figures were measured on, and what that means."""
    return Text.assemble((f" {comparison.fidelity} ", "reverse"), " ", (words.FIDELITY[comparison.fidelity], "dim"))


def verdict(comparison: Comparison) -> Iterable[Text]:
    """A sentence for each stack, and what nothing explains."""
    yield from (Text(sentence, style="bold") for sentence in words.verdict_sentences(comparison))
    for warning in filter(None, (words.unexplained(comparison), words.icr_open(comparison))):
        yield Text(warning, style="bold red")


def _table(first: str) -> Table:
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    view.add_column(first)
    return view


def _exit_cells(row: WorkloadExits, stacks: Sequence[str], judged: MetricComparison | None) -> Iterable[Text]:
    for stack, value in zip(stacks, row.cells, strict=True):
        contrast = judged.contrast(stack) if judged else None
        yield _marked("–" if value is None else words.number(value), contrast)


def _marked(text: str, contrast: Contrast | None) -> Text:
    """The mark keeps its column, so that figures without one stand below each other."""
    verdict = contrast.verdict if contrast else None
    if verdict is None:
        return Text(text)
    return Text(f"{text} {MARKS[verdict]}", style=STYLES.get(verdict, ""))


def _metrics_table(comparison: Comparison, rows: Sequence[MetricComparison], stacks: Sequence[str]) -> RenderableType:
    title = words.not_judged(comparison) or f"What workloads measured, and the ratio to {comparison.baseline}"
    view = _table("workload: metric, unit")
    for stack in (comparison.baseline, *stacks):
        view.add_column(Text(stack), justify="right", no_wrap=True)
    for row in rows:
        unit = f", {row.unit}" if row.unit and not row.metric.endswith("per_second") else ""
        base = row.figure(comparison.baseline)
        cells = [Text(words.number(base.mean) if base else "–"), *(_metric_cell(row, stack) for stack in stacks)]
        name = Text(f"{row.workload}: {words.metric_name(row.metric)}{unit}")
        view.add_row(name, *cells, style="" if row.judged else UNJUDGED)
    return Padding(Group(Text(title, style="" if any(row.judged for row in rows) else UNJUDGED), view), (1, 0, 0, 0))


def _metric_cell(row: MetricComparison, stack: str) -> Text:
    figure, contrast = row.figure(stack), row.contrast(stack)
    text = words.number(figure.mean) if figure else "–"
    return _marked(f"{text} {words.ratio(contrast.effect):>6}" if contrast else text, contrast)


def _legend(comparison: Comparison) -> Text:
    """The marks that are there, and what the less obvious of them mean."""
    first = {(row.workload, row.metric) for row in comparison.exit_table.rows}
    shown = [
        row for row in comparison.metrics if (row.workload, row.metric) in first or row.metric not in words.EXIT_METRICS
    ]
    used = {contrast.verdict for row in shown for contrast in row.contrasts}
    meanings = {
        Verdict.NO_DIFFERENCE: f" (all of the 95 % interval is {words.near_one(comparison)})",
        Verdict.NOT_DECIDED: f" (the 95 % interval includes 1, and more than is {words.near_one(comparison)})",
    }
    marks = [f"{mark} {each}{meanings.get(each, '')}" for each, mark in MARKS.items() if each in used]
    return Text(f"Against {comparison.baseline}: {', '.join(marks)}." if marks else "", style="dim")


def _troubles(comparison: Comparison) -> Iterable[RenderableType]:
    """What else a reader should know, a line each, and where the rest is."""
    for found in comparison.unexplained:
        yield Text(f"{found.fact} on {found.host}{': changed within a stack' if found.drifted else ''}", style="red")
    for trial in comparison.failed[:_FAILED_SHOWN]:
        text = f"{trial.id} ({trial.stack}, {trial.workload}): {' '.join(trial.failure.split())}"
        yield Text.assemble(("failed ", "red"), text, no_wrap=True, overflow="ellipsis")
    if comparison.failed:
        yield Text(f"{len(comparison.failed)} of {comparison.trials} trials failed and count in no figure.")
    odd = len(comparison.outliers) + len(comparison.warm_ups)
    more = ["Exits by reason", "intervals", *([words.count(odd, "odd value")] if odd else [])]
    yield Text(f"{', '.join(more)}: nohype compare --details, or the report.", style="dim")
