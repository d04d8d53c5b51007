"""What happens in a campaign, as it happens: one stream for the terminal, the log file, and whoever else listens."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from harness.results.model import Status


@dataclass(frozen=True)
class CampaignBegun:
    campaign_id: str
    blocks: int
    trials: int
    trials_done: int  # before, when it goes on after an interruption
    folder: str


@dataclass(frozen=True)
class BlockBegun:
    block: int
    host: str
    stack: str
    trials: int


@dataclass(frozen=True)
class Doing:
    """What a host is busy with now, apart from trials; once more with each `detail` of it, such as Ansible's tasks."""

    host: str
    text: str
    detail: str = ""


@dataclass(frozen=True)
class TrialBegun:
    trial_id: str
    host: str
    stack: str
    workload: str
    repeat: int
    seconds: int  # it is asked to take; 0: a boot


@dataclass(frozen=True)
class TrialEnded:
    trial_id: str
    host: str
    stack: str
    workload: str
    status: Status
    failure: str
    seconds: float
    overhead_seconds: float
    exits: int | None = None  # of the measured phase; None in the events of older versions


@dataclass(frozen=True)
class BlockEnded:
    block: int
    host: str
    stack: str


@dataclass(frozen=True)
class Warned:
    host: str  # "" for the campaign as a whole
    text: str


@dataclass(frozen=True)
class CampaignEnded:
    campaign_id: str
    status: str
    trials: int
    failed: int
    disagreements: int


Event = CampaignBegun | BlockBegun | Doing | TrialBegun | TrialEnded | BlockEnded | Warned | CampaignEnded
Emit = Callable[[Event], None]
_KINDS = {kind.__name__: kind for kind in get_args(Event)}


@dataclass(frozen=True)
class Happened:
    """An event with its time, by the controller's clock."""

    at: datetime
    event: Event


class EventLog:
    """Appends each event to a file, one JSON document a line. `emit` may be called from several threads.

    Nothing waits for readers of the file (harness.campaign.follow); there may be any number of them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """A full disk loses lines and nothing else: what counts is in the store."""
        line = json.dumps({"at": datetime.now(UTC).isoformat(), "event": type(event).__name__, **asdict(event)})
        with self._lock, contextlib.suppress(OSError), self._path.open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())


def parse(line: str | bytes) -> Happened | None:
    """The event in a line that EventLog wrote; None for anything else: a torn line, or a kind of another version."""
    try:
        document = json.loads(line)
        at, kind = datetime.fromisoformat(document.pop("at")), _KINDS[document.pop("event")]
        if kind is TrialEnded:
            document["status"] = Status(document["status"])
        return Happened(at, kind(**document))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def fan_out(*listeners: Emit) -> Emit:
    """One emit for several listeners, called in turn by one thread at a time."""
    lock = threading.Lock()

    def emit(event: Event) -> None:
        with lock:
            for listener in listeners:
                listener(event)

    return emit
