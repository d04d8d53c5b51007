"""What nightlies find: plain frozen records for the terminal, digests, metrics and other programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from harness.results.model import ChangeKind, Direction, Fidelity, NightRecord, Note, TrialRecord


@dataclass(frozen=True)
class Series:
    """What is compared with itself from night to night. Other fidelity or unit: another series."""

    campaign: str  # name
    host: str
    stack: str
    workload: str
    metric: str
    unit: str
    fidelity: Fidelity


@dataclass(frozen=True)
class Point:
    """One campaign's value: the mean of its boots' means."""

    campaign_id: str
    at: datetime
    value: float
    boots: int


@dataclass(frozen=True)
class History:
    """A series' values, the earliest first. Campaigns without a good trial of it are left out."""

    series: Series
    direction: Direction
    points: tuple[Point, ...]


class State(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RECOVERED = "recovered"  # a later change took it back by more than half


@dataclass(frozen=True)
class Suspect:
    """Something that was not the same on both sides of a change."""

    fact: str  # of the fingerprint, or: revision, harness version, campaign file
    before: str
    after: str
    campaign_id: str  # the first with the new value
    nights: int  # how far from the change: 0 is at it, -1 the night before


@dataclass(frozen=True)
class Change:
    """A change point of a series."""

    id: str
    series: Series
    kind: ChangeKind
    state: State
    before: float  # mean of the nights since the change before it, or the first
    after: float  # mean of the nights until the next change, or the last
    p_value: float
    last_before: str  # campaign
    campaign_id: str  # the first after it
    at: datetime  # when that began
    nights_after: int
    new: bool  # not reported before
    note: str  # of its acknowledgement
    suspects: tuple[Suspect, ...]

    @property
    def ratio(self) -> float | None:
        """After over before; None where before is zero."""
        return self.after / self.before if self.before else None

    @property
    def regression(self) -> bool:
        """Whether it makes a night regressed."""
        return self.kind is ChangeKind.WORSE and self.state is State.OPEN


@dataclass(frozen=True)
class Digest:
    """What there is to say about a night."""

    night: NightRecord
    campaign: str
    trials: int
    failed: tuple[TrialRecord, ...]
    notes: tuple[Note, ...]
    changes: tuple[Change, ...]
    missed: tuple[str, ...]  # nights since the one before this one that was not missed
    recorded_at: datetime


@dataclass(frozen=True)
class Sample:
    """One figure for monitoring."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    value: float
