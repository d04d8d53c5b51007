"""How long a campaign will take: what it took so far, applied to the rest of its plan."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from statistics import fmean

from harness.campaign.events import BlockBegun, BlockEnded, CampaignBegun, Happened, TrialBegun, TrialEnded
from harness.campaign.plan import Plan, PlannedBlock, PlannedTrial
from harness.results.model import Status


class Pace:
    """Times trials by workload and stack, and what blocks take before their first and after their last trial.

    Hosts work side by side, each on its own blocks: the slowest one decides.
    """

    def __init__(self, plan: Plan | None) -> None:
        self._blocks = plan.blocks if plan else ()
        self._trials: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._before: list[float] = []
        self._after: list[float] = []
        self._begun: dict[str, datetime] = {}  # trials at work
        self._ended: set[str] = set()
        self._open: dict[str, tuple[int, datetime]] = {}  # by host: its block, and when that or its last trial began
        self._closed: set[int] = set()
        self._booting: set[str] = set()  # hosts whose block has had no trial yet

    def take(self, happened: Happened) -> None:
        at = happened.at
        match happened.event:
            case CampaignBegun():  # a controller that died was not slow
                self._begun.clear()
                self._open.clear()
            case BlockBegun() as event:
                self._open[event.host] = (event.block, at)
                self._booting.add(event.host)
            case TrialBegun() as event:
                if event.host in self._booting and event.host in self._open:
                    self._booting.discard(event.host)
                    self._before.append(_seconds(self._open[event.host][1], at))
                self._begun[event.trial_id] = at
            case TrialEnded() as event:
                begun = self._begun.pop(event.trial_id, None)
                self._ended.add(event.trial_id)
                if begun and event.status is Status.OK:
                    self._trials[event.workload, event.stack].append(_seconds(begun, at))
                if event.host in self._open:
                    self._open[event.host] = (self._open[event.host][0], at)
            case BlockEnded() as event:
                self._closed.add(event.block)
                opened = self._open.pop(event.host, None)
                if opened:
                    self._after.append(_seconds(opened[1], at))

    def seconds_left(self, now: datetime) -> float | None:
        """None without a plan, and before a block has had its first trial or any trial succeeded."""
        if not self._blocks or not self._before or not self._trials:
            return None
        hosts: dict[str, float] = defaultdict(float)
        for block in self._blocks:
            hosts[block.host] += self._rest(block, now)
        return max(hosts.values())

    def _rest(self, block: PlannedBlock, now: datetime) -> float:
        """Of a block: what is left of its boot, its trials, and its end."""
        left = [trial for trial in block.trials if trial.id not in self._ended]
        if block.number in self._closed or (not left and block.number not in self._numbers()):
            return 0.0
        rest = fmean(self._after) if self._after else 0.0
        rest += sum(self._trial(trial, block.stack, now) for trial in left)
        if len(left) == len(block.trials) and not any(trial.id in self._begun for trial in left):
            at = self._open.get(block.host)
            elapsed = _seconds(at[1], now) if at and at[0] == block.number else 0.0
            rest += max(fmean(self._before) - elapsed, 0.0)
        return rest

    def _numbers(self) -> set[int]:
        return {number for number, _ in self._open.values()}

    def _trial(self, trial: PlannedTrial, stack: str, now: datetime) -> float:
        same = self._trials.get((trial.workload, stack)) or [
            seconds for (workload, _), found in self._trials.items() if workload == trial.workload for seconds in found
        ]
        known = fmean(same) if same else max(trial.seconds, fmean(s for found in self._trials.values() for s in found))
        begun = self._begun.get(trial.id)
        return max(known - _seconds(begun, now), 0.0) if begun else known


def _seconds(start: datetime, end: datetime) -> float:
    return max((end - start).total_seconds(), 0.0)
