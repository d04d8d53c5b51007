"""Figures from what a program printed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

from harness.errors import WorkloadError
from harness.results.model import MetricValue
from harness.workloads.spec import Metric, Workload

_SHOWN_LINES = 3
_SHOWN_CHARACTERS = 120


def parse(workload: Workload, output: str, where: str = "") -> tuple[MetricValue, ...]:
    """Every metric of the workload. Raises WorkloadError saying what was expected and how the output begins."""
    document: object = None
    if any(metric.parse.json_path for metric in workload.metrics):
        try:
            document = json.loads(output)
        except ValueError as error:
            raise _not(workload, f"JSON ({error})", output, where) from None
    values = []
    for metric in workload.metrics:
        found = _by_json(metric, document) if metric.parse.json_path else _by_regex(metric, output)
        if isinstance(found, str):
            raise _not(workload, found, output, where)
        values.append(MetricValue(metric.name, found * metric.parse.scale, metric.unit, metric.better))
    return tuple(values)


def _by_json(metric: Metric, document: object) -> float | str:
    """The figure, or what was expected in vain."""
    here = document
    for key in metric.parse.json_path.split("."):
        if isinstance(here, dict) and key in here:
            here = here[key]
        elif isinstance(here, list) and key.isdigit() and int(key) < len(here):
            here = here[int(key)]
        else:
            return f"{metric.parse.json_path} for {metric.name}"
    if isinstance(here, bool) or not isinstance(here, int | float) or not math.isfinite(here):
        return f"a number at {metric.parse.json_path} for {metric.name}, found {here!r}"
    return float(here)


def _by_regex(metric: Metric, output: str) -> float | str:
    found = re.findall(metric.parse.regex, output, re.MULTILINE)
    expected = f"{metric.name} by the pattern {metric.parse.regex!r}"
    if len(found) != 1:
        return f"{expected} once, found {len(found)} times" if found else expected
    try:
        value = float(found[0])
    except ValueError:
        return f"a number as {expected}, found {found[0]!r}"
    return value if math.isfinite(value) else f"a finite number as {expected}, found {found[0]!r}"


def _not(workload: Workload, expected: str, output: str, where: str) -> WorkloadError:
    return WorkloadError(
        f"workload {workload.name}: the output lacks {expected}; it begins: {first_lines(output)}",
        where=where,
        fix="the whole output is in the trial's artifacts",
    )


def first_lines(text: str) -> str:
    """The first lines of an output, as errors show them."""
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    shown = " | ".join(lines[:_SHOWN_LINES])
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown)
    return (shown[:_SHOWN_CHARACTERS] + "..." if len(shown) > _SHOWN_CHARACTERS else shown) or "(nothing)"
