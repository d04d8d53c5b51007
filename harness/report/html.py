"""The report of a campaign: one HTML file that needs neither network nor script."""

from __future__ import annotations

import math
import os
import platform
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jinja2

import harness
from harness.analysis import paper
from harness.analysis.compare import exit_phases
from harness.analysis.exit_table import WorkloadExits
from harness.analysis.exits import exits_total
from harness.analysis.model import Comparison, Contrast, ExitRate, MetricComparison
from harness.report import words
from harness.report.charts import exit_colours, exit_figures
from harness.report.model import ReportInput
from harness.results.model import NoteKind, TrialRecord

BAR_WIDTH = 200  # of a ratio bar's own coordinates
MARGIN = 8
WIDEST = math.log(64)  # ratios beyond 64 and 1/64 run against the bar's end
NARROWEST = math.log(1.25)
NO_REASON = "no exits"


@dataclass(frozen=True)
class RatioBar:
    """Where a ratio and its interval lie on a logarithmic axis whose middle is 1; all in the bar's coordinates."""

    ratio: float
    low: float | None
    high: float | None
    middle: float = BAR_WIDTH / 2


@dataclass(frozen=True)
class ExitRow:
    reason: str
    colour: str
    cells: tuple[ExitRate | str, ...]  # in the order of the stacks; text where there is no rate


def write_report(path: Path, source: ReportInput) -> Path:
    """Write the report to `path` (folders are made), replacing an older one at once and whole; returns `path`."""
    path = path.absolute()
    text = render(source, path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def render(source: ReportInput, folder: Path, links: Sequence[tuple[str, str]] = ()) -> str:
    """The report's HTML. Links to artifacts are relative to `folder`, where the report will lie.

    `links` are words and addresses, shown above everything else: for a report that is one page of several.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    comparison = source.comparison
    colours = exit_colours(comparison)
    reach = ratio_reach(comparison)

    def link(trial: TrialRecord) -> str:
        target = source.artifacts / trial.artifacts
        return quote(os.path.relpath(target, folder)) if trial.artifacts and target.is_dir() else ""

    return environment.get_template("report.html.j2").render(
        campaign=source.campaign,
        comparison=comparison,
        trials=source.trials,
        blocks=source.blocks,
        fingerprints=source.fingerprints,
        # Prometheus has a section of its own; that somebody cancelled is in the campaign's status.
        notes=[note for note in source.notes if note.kind not in (NoteKind.PROMETHEUS, NoteKind.CANCEL)],
        prometheus=source.prometheus,
        paper=paper.beside_the_paper(comparison, source.against_xen),
        quotes=paper,
        words=words,
        bar=lambda contrast: ratio_bar(contrast, reach),
        bar_width=BAR_WIDTH,
        bar_ends=(words.number(math.exp(-reach)), words.number(math.exp(reach))),
        groups=metric_groups(comparison),
        exit_contrast=lambda row, stack: exit_contrast(comparison, row, stack),
        figures=exit_figures(comparison, colours),
        colours=colours,
        exit_rows=exit_rows(comparison, colours),
        exits_total=exits_total,
        total_exits=sum(exits_total(trial) for trial in source.trials),
        link=link,
        links=links,
        version=harness.__version__,
        python=platform.python_version(),
    )


def metric_groups(comparison: Comparison) -> dict[str, tuple[MetricComparison, ...]]:
    """The metrics by workload."""
    workloads = dict.fromkeys(row.workload for row in comparison.metrics)
    return {name: tuple(row for row in comparison.metrics if row.workload == name) for name in workloads}


def exit_contrast(comparison: Comparison, row: WorkloadExits, stack: str) -> Contrast | None:
    """A stack against the baseline by the figures of one row of the table of exits; None for the baseline itself."""
    found = next(
        (each for each in comparison.metrics if (each.workload, each.metric) == (row.workload, row.metric)), None
    )
    return found.contrast(stack) if found else None


def ratio_reach(comparison: Comparison) -> float:
    """Half the width of the ratio bars' axis, as a logarithm: the same for all, so that bars can be compared."""
    bounds: list[float] = []
    for row in comparison.metrics:
        for contrast in row.contrasts:
            if contrast.effect:
                bounds += [contrast.effect.ratio, contrast.effect.low or 0, contrast.effect.high or 0]
    logs: Sequence[float] = [abs(math.log(bound)) for bound in bounds if bound > 0]
    return min(WIDEST, max([NARROWEST, *logs]) * 1.05)


def ratio_bar(contrast: Contrast, reach: float) -> RatioBar | None:
    if contrast.effect is None:
        return None

    def place(value: float) -> float:
        half = BAR_WIDTH / 2 - MARGIN
        log = math.log(value) if value > 0 else -math.inf
        return round(BAR_WIDTH / 2 + half * max(-1.0, min(1.0, log / reach)), 1)

    effect = contrast.effect
    if effect.low is None or effect.high is None:
        return RatioBar(place(effect.ratio), None, None)
    return RatioBar(place(effect.ratio), place(effect.low), place(effect.high))


def exit_rows(comparison: Comparison, colours: dict[str, str]) -> dict[str, tuple[ExitRow, ...]]:
    """Exits per second by phase, then reason; most frequent first. A dash where no trial of the stack succeeded."""
    found = {}
    for phase in exit_phases(comparison):
        rates = {(rate.reason, rate.stack): rate for rate in comparison.exits if rate.phase == phase.workload}
        most: dict[str, float] = defaultdict(float)
        for rate in rates.values():
            most[rate.reason] = max(most[rate.reason], rate.per_second)
        nothing = {stack: "0" if phase.figure(stack) else "–" for stack in comparison.stacks}
        found[phase.workload] = tuple(
            ExitRow(
                reason,
                colours.get(reason, "") if reason != NO_REASON else "transparent",
                tuple(rates.get((reason, stack), nothing[stack]) for stack in comparison.stacks),
            )
            for reason in sorted(most, key=lambda reason: -most[reason]) or (NO_REASON,)
        )
    return found
