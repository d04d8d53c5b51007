"""A campaign's figures beside those of the paper that proposed NoHype.

J. Szefer, E. Keller, R. B. Lee, J. Rexford: "Eliminating the hypervisor attack surface for a more secure cloud",
CCS 2011, pages 401 to 412. Quoted is what could be established of it, each with its source; the figures of its
table of exit reasons are not, for its text was not at hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.analysis.compare import exit_phases
from harness.analysis.exits import BOOT, EXITS, EXITS_PER_SECOND
from harness.analysis.model import Comparison, Contrast
from harness.results.model import Direction

XEN = "xen"  # what the paper compares with: Xen as installed
KNOWN = "known-exits"  # makes exits on purpose: no part of an average


@dataclass(frozen=True)
class Quote:
    """A figure of the paper, in words, and where it stands."""

    said: str
    source: str


RUNNING = Quote(
    "about 600 exits per second on average, of a running guest under Xen",
    "after the design notes of this testbed; its place in the paper was not verified",
)
GAIN = Quote("roughly 1 % faster with NoHype than on Xen 4.0 (SPEC and Apache)", "abstract")
MACHINE = "Xen 4.0 and Linux 2.6.35.4 on an Intel Xeon W5580, with an Intel 82576 network card"


@dataclass(frozen=True)
class Row:
    """A figure for each stack, in the order of `Comparison.stacks`; None where it has none."""

    name: str
    cells: tuple[float | None, ...]


@dataclass(frozen=True)
class Gain:
    """How much better a stack does than Xen, as a share: 0.01 is 1 %. `low` and `high` bound the 95 % interval."""

    stack: str
    share: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class GainRow:
    workload: str
    metric: str
    gains: tuple[Gain, ...]  # of stacks that have one


@dataclass(frozen=True)
class Paper:
    """What a campaign has to set beside the paper; empty tuples for what it has not."""

    running: tuple[Row, ...]  # exits per second by workload
    average: tuple[float | None, ...]  # of these workloads, for stacks that have all of them
    boot: tuple[Row, ...]  # exits of one guest's boot by reason
    run: tuple[Row, ...]  # exits per second by reason, averaged over the workloads
    gains: tuple[GainRow, ...]
    missing: tuple[str, ...]  # what this campaign lacks for the comparison


def beside_the_paper(comparison: Comparison, against_xen: Comparison | None) -> Paper:
    """`against_xen` is the same campaign with Xen as baseline; None where it has no Xen."""
    phases = {row.workload: row for row in exit_phases(comparison) if row.workload != KNOWN}
    workloads = [name for name in phases if name != BOOT]
    running = tuple(
        Row(name, tuple(found.mean if (found := phases[name].figure(s)) else None for s in comparison.stacks))
        for name in workloads
    )
    boots = [rate for rate in comparison.exits if rate.phase == BOOT]
    runs = [rate for rate in comparison.exits if rate.phase in workloads]
    has_boot = {stack for stack in comparison.stacks if BOOT in phases and phases[BOOT].figure(stack)}
    average = tuple(_mean(column) for column in zip(*(row.cells for row in running), strict=True))
    whole = {stack for stack, mean in zip(comparison.stacks, average, strict=False) if mean is not None}
    lacking = [
        ("" if BOOT in phases else "the workload boot: exits of a guest's boot"),
        ("" if workloads else "a workload besides boot: exits while running"),
        ("" if against_xen else f"stack {XEN}: performance against Xen, and exits under it"),
        ("" if "nohype" in comparison.stacks else "stack nohype"),
    ]
    return Paper(
        running=running,
        average=average,
        boot=_by_reason(((r.reason, r.stack, r.per_trial) for r in boots), comparison.stacks, has_boot),
        run=_by_reason(((r.reason, r.stack, r.per_second / len(workloads)) for r in runs), comparison.stacks, whole),
        gains=_gains(against_xen) if against_xen else (),
        missing=tuple(filter(None, lacking)),
    )


def _mean(cells: Iterable[float | None]) -> float | None:
    found = list(cells)
    known = [cell for cell in found if cell is not None]
    return sum(known) / len(known) if len(known) == len(found) else None


def _by_reason(found: Iterable[tuple[str, str, float]], stacks: Sequence[str], counted: set[str]) -> tuple[Row, ...]:
    """The most frequent first; 0 where a stack that was `counted` had none."""
    table: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for reason, stack, value in found:
        table[reason][stack] += value
    rows = [
        Row(reason, tuple(sums.get(s, 0.0) if s in counted else None for s in stacks)) for reason, sums in table.items()
    ]
    return tuple(sorted(rows, key=lambda row: -max((cell or 0.0) for cell in row.cells)))


def _gains(against_xen: Comparison) -> tuple[GainRow, ...]:
    rows = []
    for row in against_xen.metrics:
        if row.metric in (EXITS, EXITS_PER_SECOND) or row.workload in (BOOT, KNOWN):
            continue
        gains = [_gain(contrast, row.direction) for contrast in row.contrasts]
        known = tuple(gain for gain in gains if gain)
        rows += [GainRow(row.workload, row.metric, known)] if known else []
    return tuple(rows)


def _gain(contrast: Contrast, direction: Direction) -> Gain | None:
    """Of metrics where lower is better, the ratio's inverse tells how many times better it is."""
    effect = contrast.effect
    if effect is None or direction is Direction.NEITHER:
        return None
    bounds: list[float | None] = [effect.ratio, effect.low, effect.high]
    if direction is Direction.LOWER:
        if not effect.ratio:
            return None
        bounds = [1 / bound if bound else None for bound in (effect.ratio, effect.high, effect.low)]
    shares = [None if bound is None else bound - 1 for bound in bounds]
    assert shares[0] is not None
    return Gain(contrast.stack, shares[0], shares[1], shares[2])
