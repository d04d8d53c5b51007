"""The report of a campaign: one HTML file that needs neither network nor script."""

from __future__ import annotations

import math
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jinja2

import harness
from harness.analysis.compare import exits_total
from harness.analysis.model import Comparison, Contrast, ExitRate, MetricComparison
from harness.report import words
from harness.report.charts import exit_colours, exit_figures
from harness.report.model import ReportInput
from harness.results.model import NoteKind, TrialRecord

BAR_WIDTH = 200  # of a ratio bar's own coordinates
MARGIN = 8
WIDEST = math.log(64)  # ratios beyond 64 and 1/64 run against the bar's end
NARROWEST = math.log(1.25)


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
    rates: tuple[ExitRate | None, ...]  # in the order of the stacks


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


def render(source: ReportInput, folder: Path) -> str:
    """The report's HTML. Links to artifacts are relative to `folder`, where the report will lie."""
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
        words=words,
        bar=lambda contrast: ratio_bar(contrast, reach),
        bar_width=BAR_WIDTH,
        bar_ends=(words.number(math.exp(-reach)), words.number(math.exp(reach))),
        groups=metric_groups(comparison),
        figures=exit_figures(comparison, colours),
        colours=colours,
        exit_rows=exit_rows(comparison, colours),
        exits_total=exits_total,
        total_exits=sum(exits_total(trial) for trial in source.trials),
        link=link,
        version=harness.__version__,
        python=platform.python_version(),
    )


def metric_groups(comparison: Comparison) -> dict[str, tuple[MetricComparison, ...]]:
    """The metrics by workload."""
    workloads = dict.fromkeys(row.workload for row in comparison.metrics)
    return {name: tuple(row for row in comparison.metrics if row.workload == name) for name in workloads}


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
    """Exits per second by phase, then reason; most frequent first."""
    found = {}
    for phase in dict.fromkeys(rate.phase for rate in comparison.exits):
        rates = {(rate.reason, rate.stack): rate for rate in comparison.exits if rate.phase == phase}
        rows = [
            ExitRow(reason, colours.get(reason, ""), tuple(rates.get((reason, stack)) for stack in comparison.stacks))
            for reason in dict.fromkeys(reason for reason, _stack in rates)
        ]
        found[phase] = tuple(sorted(rows, key=lambda row: -max(rate.per_second for rate in row.rates if rate)))
    return found
