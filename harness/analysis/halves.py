"""A stack against itself: its boots, split at random into two halves that should show no difference (an A/A test)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from harness.results.model import Status, TrialRecord

FEWEST_BOOTS = 4  # two in each half, which is what an interval takes


def may_halve(trials: Sequence[TrialRecord]) -> bool:
    """Whether the trials are of one stack that some host was booted into often enough."""
    boots = {(trial.host, trial.boot_id) for trial in trials if trial.status is Status.OK}
    hosts = [host for host, _boot in boots]
    return len({trial.stack for trial in trials}) == 1 and any(hosts.count(host) >= FEWEST_BOOTS for host in hosts)


def halves(trials: Sequence[TrialRecord], seed: int) -> tuple[TrialRecord, ...]:
    """The trials, their stack's name followed by A or B: of each host's boots, half and half.

    The same trials and seed give the same halves.
    """
    chance = random.Random(seed)  # noqa: S311 - it must be repeatable, not secret
    second: set[tuple[str, str]] = set()
    for host in sorted({trial.host for trial in trials}):
        boots = sorted({trial.boot_id for trial in trials if trial.host == host})
        second |= {(host, boot) for boot in chance.sample(boots, len(boots) // 2)}
    return tuple(
        replace(trial, stack=f"{trial.stack} {'B' if (trial.host, trial.boot_id) in second else 'A'}")
        for trial in trials
    )
