"""How far a campaign is: its events, summed up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime

from harness.campaign.events import (
    BlockBegun,
    BlockEnded,
    CampaignBegun,
    CampaignEnded,
    Doing,
    Happened,
    TrialBegun,
    TrialEnded,
    Warned,
)
from harness.campaign.pace import Pace
from harness.campaign.plan import Plan
from harness.results.model import Status

_KEPT = 50  # the last trials, failures and warnings; the store has all of them
_TOLD_AFTER = 3  # trials; before that an estimate would be a guess


@dataclass(frozen=True)
class HostNow:
    """What a host is at. `block` is 0 where it is in none, `since` None where nothing is known to be done on it."""

    block: int = 0
    stack: str = ""
    doing: str = ""
    since: datetime | None = None
    detail: str = ""  # of what is being done

    @property
    def now(self) -> str:
        """`provision kvm (task 12: base: Install packages)`."""
        return f"{self.doing} ({self.detail})" if self.detail else self.doing


@dataclass(frozen=True)
class Ended:
    """A trial that ended, with its time and its repeat (0 where that is not known)."""

    at: datetime
    trial: TrialEnded
    repeat: int

    @property
    def exits_per_second(self) -> float | None:
        """VM exits of all vCPUs over the measured phase; None where nothing was measured."""
        trial = self.trial
        return None if trial.exits is None or not trial.seconds else trial.exits / trial.seconds


class Standing:
    """Takes events, answers how things stand. For one thread at a time."""

    def __init__(self, plan: Plan | None = None) -> None:
        """With a plan there is an estimate of the time left, and hosts are known before their first block."""
        self.plan = plan
        self.trials = plan.trials if plan else 0
        self.blocks = len(plan.blocks) if plan else 0
        self.done = self.failed = 0
        self.blocks_ended: set[int] = set()
        self.begun: datetime | None = None  # by the present controller, or the last one
        self.latest: datetime | None = None  # of the last event
        self.hosts: dict[str, HostNow] = {block.host: HostNow() for block in plan.blocks} if plan else {}
        self.last: deque[Ended] = deque(maxlen=_KEPT)
        self.failures: deque[Ended] = deque(maxlen=_KEPT)
        self.warnings: deque[tuple[datetime, Warned]] = deque(maxlen=_KEPT)
        self._repeats: dict[str, int] = {}  # of trials that were begun
        self._numbers = {trial.id: block.number for block in plan.blocks for trial in block.trials} if plan else {}
        self._pace = Pace(plan)

    def take(self, happened: Happened) -> None:
        """Note an event. They come in the order in which they happened."""
        at = self.latest = happened.at
        self._pace.take(happened)
        match happened.event:
            case CampaignBegun() as event:
                self.begun, self.trials, self.done = at, event.trials, event.trials_done
                self.blocks = event.blocks or self.blocks
                self.hosts = dict.fromkeys(self.hosts, HostNow())
            case BlockBegun() as event:
                self.hosts[event.host] = HostNow(event.block, event.stack)
            case BlockEnded() as event:
                self.blocks_ended.add(event.block)
                self.hosts[event.host] = HostNow()
            case Doing() as event:
                host = self.hosts.get(event.host, HostNow())
                since = host.since if event.detail and host.doing == event.text else at
                self.hosts[event.host] = replace(host, doing=event.text, since=since, detail=event.detail)
            case TrialBegun() as event:
                asked = f" ({event.seconds} s)" if event.seconds else ""
                self._repeats[event.trial_id] = event.repeat
                # A controller that goes on within a block does not begin it once more.
                number = self._numbers.get(event.trial_id, self.hosts.get(event.host, HostNow()).block)
                self.hosts[event.host] = HostNow(number, event.stack, f"trial {event.workload}{asked}", at)
            case TrialEnded() as event:
                self._ended(Ended(at, event, self._repeats.pop(event.trial_id, 0)))
            case Warned() as event:
                self.warnings.append((at, event))
            case CampaignEnded():
                self.hosts = dict.fromkeys(self.hosts, HostNow())

    def seconds(self, now: datetime) -> float:
        """Since the present controller began."""
        return max((now - self.begun).total_seconds(), 0.0) if self.begun else 0.0

    def seconds_left(self, now: datetime) -> float | None:
        """An estimate; None before there is something to base it on."""
        return self._pace.seconds_left(now) if self.done >= _TOLD_AFTER else None

    def _ended(self, ended: Ended) -> None:
        host = ended.trial.host
        self.done += 1
        self.last.append(ended)
        if ended.trial.status is Status.FAILED:
            self.failed += 1
            self.failures.append(ended)
        self.hosts[host] = replace(self.hosts.get(host, HostNow()), doing="", since=None, detail="")
