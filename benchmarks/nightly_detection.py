#!/usr/bin/env python3
"""How well does `nohype nightly trend` find changes? Synthetic histories of known steps, and of none.

Every history is a run of nights with noise around a level; in one half a step up or down comes at some night. Counted
are the steps found, how many nights after the step that was for the first time (the history is looked at every night,
as nightlies do), and alarms where nothing changed: over the whole history, and on any of its nights.

    .venv/bin/python benchmarks/nightly_detection.py                     # 1,000 histories for each row
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from harness.cli import guarded
from harness.cli.common import JsonOption, out, print_json
from harness.nightly.changes import SAME_CHANGE_NIGHTS
from harness.nightly.detect import shifts

STEPS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.10)
EDGE = 10  # nights before the earliest step, and after the latest

Noise = Callable[[np.random.Generator, int], "np.ndarray[tuple[int], np.dtype[np.float64]]"]
NOISES: dict[str, Noise] = {
    "normal": lambda chance, nights: chance.normal(size=nights),
    # One night in 20 is three times as far off: a host that was busy with something else.
    "outliers": lambda chance, nights: chance.normal(size=nights) * np.where(chance.random(nights) < 0.05, 3.0, 1.0),
    # Each night keeps 0.3 of the deviation of the night before it: a room that warms and cools.
    "drifting": lambda chance, nights: _drifting(chance, nights),
}


@dataclass(frozen=True)
class Row:
    """What came of the histories of one kind. Rates are of all histories; latency is a median, in nights."""

    noise: str
    percent: float  # standard deviation of the noise
    step_percent: float
    histories: int
    found: float | None  # at most two nights from where it was; None where there was no step
    latency: float | None
    alarms: float  # a change where there was none, in the whole history
    alarms_any_night: float | None  # the same, on any of the nights; None where there was a step


def main(
    histories: Annotated[int, typer.Option(min=10, help="How many for each row.")] = 1000,
    nights: Annotated[int, typer.Option(min=30, max=1000, help="How long each is.")] = 90,
    noise: Annotated[float, typer.Option(min=0.0, help="Standard deviation, in percent of the level.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    json: JsonOption = False,
) -> None:
    """Count steps found, and alarms where nothing changed."""
    rows = list(measure(histories, nights, noise, seed))
    if json:
        print_json(rows)
        return
    out.print(f"{histories} histories of {nights} nights for each row, noise {noise:g} % of the level")
    table = Table("noise", box=None)
    for heading in ("step", "found", "after nights", "alarms", "on any night"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.noise,
            f"{row.step_percent:g} %",
            _percent(row.found),
            "–" if row.latency is None else f"{row.latency:g}",
            _percent(row.alarms),
            _percent(row.alarms_any_night),
        )
    out.print(table)


def measure(histories: int, nights: int, percent: float, seed: int) -> Iterator[Row]:
    """One row for each kind of noise and size of step."""
    for name in NOISES:
        for step in STEPS:
            chance = np.random.default_rng([seed, list(NOISES).index(name), round(step * 1000)])
            yield _row(name, step, histories, nights, percent, chance)


def _row(name: str, step: float, histories: int, nights: int, percent: float, chance: np.random.Generator) -> Row:
    found, latencies, alarms, any_night = 0, [], 0, 0
    for _ in range(histories):
        at = int(chance.integers(EDGE, nights - EDGE))
        values = 100.0 + percent * NOISES[name](chance, nights)
        if step:
            values[at:] *= 1 + step * chance.choice([-1, 1])
        places = [shift.index for shift in shifts(values.tolist())]
        near = [place for place in places if step and abs(place - at) <= SAME_CHANGE_NIGHTS]
        found += bool(near)
        alarms += len(places) > len(near)
        if step:
            latencies.append(_latency(values.tolist(), at))
        else:
            any_night += any(shifts(values[:end].tolist()) for end in range(4, nights + 1))
    return Row(
        noise=name,
        percent=percent,
        step_percent=step * 100,
        histories=histories,
        found=found / histories if step else None,
        latency=None if not step or math.isinf(median := float(np.median(latencies))) else median,
        alarms=alarms / histories,
        alarms_any_night=None if step else any_night / histories,
    )


def _latency(values: list[float], at: int) -> float:
    """How many nights of the new level had been seen when it was found first; infinite where it never was."""
    for end in range(at + 1, len(values) + 1):
        if any(abs(shift.index - at) <= SAME_CHANGE_NIGHTS for shift in shifts(values[:end])):
            return end - at
    return math.inf


def _drifting(chance: np.random.Generator, nights: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    kept = 0.3
    fresh = chance.normal(size=nights) * math.sqrt(1 - kept**2)
    values = np.empty(nights)
    values[0] = chance.normal()
    for night in range(1, nights):
        values[night] = kept * values[night - 1] + fresh[night]
    return values


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{rate * 100:.1f} %"


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
