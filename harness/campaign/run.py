"""A campaign that is being run: all that blocks and trials share."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from harness.campaign.events import Emit, Warned
from harness.campaign.plan import Plan
from harness.campaign.protocol import Lab
from harness.campaign.spec import CampaignSpec
from harness.errors import HarnessError
from harness.results.model import CampaignRecord, Note, NoteKind
from harness.results.store import Store
from harness.workloads.spec import Workload


class Stopped(BaseException):
    """The campaign is to stop here, to be resumed. No `Exception`: durable workflows record those as outcomes,
    whereas a step that ends like this is run again when the campaign is resumed."""


class Stop:
    """Tells every thread of a campaign that it is to stop."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.error: HarnessError | None = None  # why, where it was not a wish
        self.cancelled = False

    def ask(self) -> None:
        self._event.set()

    def halt(self, error: HarnessError) -> None:
        """Stop because nothing can go on, as when results cannot be stored."""
        self.error = self.error or error
        self._event.set()

    def asked(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raises Stopped once it was asked for."""
        if self._event.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Pass time, at most until asked; then raises Stopped."""
        self._event.wait(seconds)
        self.check()


def guest_tag(campaign_id: str) -> str:
    """Begins the names of the campaign's guests, which are too short for its id."""
    return "c" + hashlib.sha256(campaign_id.encode()).hexdigest()[:6]


@dataclass(frozen=True)
class Run:
    """Everything a block needs. `folder` holds the campaign's artifacts."""

    record: CampaignRecord
    spec: CampaignSpec
    plan: Plan
    workloads: Mapping[str, Workload]
    store: Store
    lab: Lab
    folder: Path
    emit: Emit
    stop: Stop = field(default_factory=Stop)

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def tag(self) -> str:
        return guest_tag(self.id)

    def check_stop(self) -> None:
        """Raises Stopped when the campaign is to stop or somebody has cancelled it."""
        self.stop.check()
        if self.store.notes(self.id, NoteKind.CANCEL):
            self.stop.cancelled = True
            self.stop.ask()
            self.stop.check()

    def note(self, kind: NoteKind, subject: str, text: str) -> None:
        """Keep and tell that something happened; once for each kind and subject."""
        if self.store.add_note(Note(self.id, kind, subject, text, datetime.now(UTC))) and text:
            self.emit(Warned(subject, text))

    def noted(self, kind: NoteKind, subject: str) -> str | None:
        """The note's text, or None where there is none."""
        found = self.store.notes(self.id, kind, subject)
        return found[0].text if found else None
