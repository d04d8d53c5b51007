"""One night: its campaign is measured, what changed is found, and whoever wants to know is told.

Whatever ends the controller in between, the same night can be run again: it goes on with the campaign it began.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from harness.campaign.register import CANCELLED, DONE, INTERRUPTED, Outcome
from harness.errors import ExitCode, HarnessError, StorageError
from harness.nightly.changes import find_changes, remember
from harness.nightly.digest import render
from harness.nightly.model import Digest
from harness.nightly.notify import NOT_WANTED, send, wanted
from harness.nightly.presence import alone
from harness.nightly.schedule import Due, too_late
from harness.nightly.spec import NightlySpec
from harness.report import words
from harness.results.artifacts import campaign_folder, storing
from harness.results.model import NightlyRecord, NightRecord, NightStatus, NoteKind, Status
from harness.results.store import Store

Tell = Callable[[str], None]
_NOTEWORTHY = (NoteKind.BLOCK_FAILED, NoteKind.POWER_CYCLED, NoteKind.QUARANTINED, NoteKind.WARNING)


class Campaigns(Protocol):
    """How campaigns are run; the command line's own way, and that of the tests."""

    def begin(self, nightly: NightlyRecord) -> str:
        """Check the nightly's campaign and its hosts, and register it; its id. Raises HarnessError."""

    def run(self, campaign_id: str) -> Outcome:
        """Run it from wherever it is to its end, or until this process is to stop. Raises HarnessError."""

    def abandon(self, campaign_id: str) -> None:
        """End one that was interrupted for good, so that it holds no host. Raises HarnessError."""


def run_night(
    store: Store, nightly: NightlyRecord, spec: NightlySpec, due: Due, campaigns: Campaigns, tell: Tell, *, force: bool
) -> NightRecord:
    """Run a night, or go on with it; one that has ended is left as it is. One night of a nightly at a time.

    It stays `running` where this process is told to stop. With `force` it is never too late, and a missed night is run.
    Raises StorageError where nothing can be recorded: run it again once there is room.
    """
    with alone(nightly.name, tell):
        found = night_record(store, nightly.name, due)
        if found.status is not NightStatus.RUNNING and not (force and found.status is NightStatus.MISSED):
            return found
        now = datetime.now(UTC)
        if not force and too_late(spec, due.at, now):
            return _give_up(store, spec, found, campaigns)
        night = replace(found, status=NightStatus.RUNNING, reason="", started_at=found.started_at or now)
        store.set_night(night)
        try:
            if not night.campaign_id:
                night = replace(night, campaign_id=campaigns.begin(nightly))
                store.set_night(night)
            outcome = _outcome(store, night, campaigns)
        except StorageError:
            raise
        except HarnessError as error:
            return _end(store, night, NightStatus.FAILED, str(error))
        if outcome.status == INTERRUPTED:
            return night
        return _judge(store, nightly, night, outcome)


def night_record(store: Store, nightly: str, due: Due) -> NightRecord:
    """The night as it is recorded, or as it begins."""
    for night in store.nights(nightly):
        if night.night == due.night:
            return night
    return NightRecord(nightly, due.night, due.at, NightStatus.RUNNING, "", "", None, None, "")


def miss(store: Store, nightly: str, due: Due, reason: str) -> NightRecord:
    """Record that a night did not take place."""
    night = night_record(store, nightly, due)
    return _end(store, replace(night, started_at=None), NightStatus.MISSED, reason)


def is_scheduled(night: NightRecord) -> bool:
    """Whether it is a night of the schedule, and not one that somebody ran by hand at another time."""
    return " " not in night.night


def exit_code(night: NightRecord) -> ExitCode:
    """What a script learns of the night."""
    return {
        NightStatus.OK: ExitCode.OK,
        NightStatus.REGRESSED: ExitCode.REGRESSED,
        NightStatus.RUNNING: ExitCode.INTERRUPTED,
    }.get(night.status, ExitCode.FAILED)


def report_night(store: Store, nightly: NightlyRecord, spec: NightlySpec, night: NightRecord) -> NightRecord:
    """Tell those who want to know about a night that has ended, once, and remember what was told.

    What could not be sent stands in the night's `digest`. Raises StorageError.
    """
    if night.digest:
        return night
    digest = make_digest(store, nightly, night)
    outcome = NOT_WANTED
    if wanted(spec.notify, digest):
        outcome, _ = send(spec.notify, digest, render(digest))
    remember(store, digest.changes)
    told = replace(night, digest=outcome)
    store.set_night(told)
    return told


def make_digest(store: Store, nightly: NightlyRecord, night: NightRecord) -> Digest:
    """What there is to say about a night."""
    nights = store.nights(nightly.name)
    before = [one for one in nights if one.due_at < night.due_at]
    measured = [place for place, one in enumerate(before) if one.status is not NightStatus.MISSED]
    missed = [one.night for one in before[measured[-1] + 1 if measured else 0 :]]
    trials = store.trials(night.campaign_id) if night.campaign_id else ()
    notes = store.notes(night.campaign_id) if night.campaign_id else ()
    return Digest(
        night=night,
        campaign=nightly.campaign,
        trials=len(trials),
        failed=tuple(trial for trial in trials if trial.status is Status.FAILED),
        notes=tuple(note for note in notes if note.kind in _NOTEWORTHY),
        changes=find_changes(store, nightly.campaign),
        missed=tuple(missed),
        recorded_at=datetime.now(UTC),
    )


def keep_artifacts(store: Store, nightly: NightlyRecord, nights: int) -> tuple[Path, ...]:
    """Remove the artifacts of all but the last `nights` nights that ended; their results stay. Those removed."""
    ended = [night for night in store.nights(nightly.name) if night.campaign_id and night.ended_at]
    removed = []
    for night in ended[:-nights]:
        folder = campaign_folder(night.campaign_id)
        if folder.is_dir() and store.campaign(night.campaign_id).status in (DONE, CANCELLED):
            with storing(folder):
                shutil.rmtree(folder)
            removed.append(folder)
    return tuple(removed)


def _outcome(store: Store, night: NightRecord, campaigns: Campaigns) -> Outcome:
    """The campaign's outcome; also where it ended, and only its night did not, before the controller was killed."""
    record = store.campaign(night.campaign_id)
    if record.status not in (DONE, CANCELLED):
        return campaigns.run(night.campaign_id)
    trials = store.trials(record.id)
    failed = sum(trial.status is Status.FAILED for trial in trials)
    return Outcome(record.id, record.status, len(trials), failed, store.prometheus(record.id)[1])


def _judge(store: Store, nightly: NightlyRecord, night: NightRecord, outcome: Outcome) -> NightRecord:
    found = find_changes(store, nightly.campaign)
    status, reason = NightStatus.OK, ""
    worse = [change for change in found if change.regression]
    if worse:
        status, reason = NightStatus.REGRESSED, f"{words.count(len(worse), 'metric')} worse than before"
    if outcome.status != DONE:
        status, reason = NightStatus.FAILED, f"the campaign is {outcome.status}"
    elif outcome.failed:
        status, reason = NightStatus.FAILED, f"{outcome.failed} of {outcome.trials} trials failed"
    elif outcome.disagreements:
        status, reason = NightStatus.FAILED, "Prometheus disagrees with the results"
    return _end(store, night, status, reason)


def _give_up(store: Store, spec: NightlySpec, night: NightRecord, campaigns: Campaigns) -> NightRecord:
    if not night.campaign_id:
        return _end(store, night, NightStatus.MISSED, f"it could not begin within {spec.late_hours:g} hours")
    reason = f"it was interrupted, and could not go on within {spec.late_hours:g} hours of its time"
    try:
        if store.campaign(night.campaign_id).status not in (DONE, CANCELLED):
            campaigns.abandon(night.campaign_id)
    except StorageError:
        raise
    except HarnessError as error:
        reason += f"; its campaign could not be ended: {error}"
    return _end(store, night, NightStatus.FAILED, reason)


def _end(store: Store, night: NightRecord, status: NightStatus, reason: str) -> NightRecord:
    ended = replace(night, status=status, reason=reason, ended_at=datetime.now(UTC))
    store.set_night(ended)
    return ended
