"""Follow a campaign that another process runs, or has run: by the events in its folder, else by the store.

Nothing here waits for the controller, nor lets it wait: files are read, locks at most looked at.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from harness.campaign import folder as folders
from harness.campaign.events import BlockBegun, CampaignBegun, Happened, TrialEnded, parse
from harness.campaign.plan import Plan
from harness.campaign.register import INTERRUPTED, RUNNING, status_now
from harness.errors import UnavailableError
from harness.results.artifacts import campaign_folder
from harness.results.model import CampaignRecord, TrialRecord
from harness.results.store import Store

# A campaign is registered a moment before its controller holds the lock; only one that stays away has died.
_PATIENCE_SECONDS = 10.0


class EventReader:
    """Reads a campaign's events file from its beginning, as far as it has come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0

    def news(self) -> list[Happened]:
        """What was added since the last call. Lines that are not whole yet wait for the next one."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                added = file.read()
        except OSError:
            return []
        whole = added[: added.rfind(b"\n") + 1]
        self._place += len(whole)
        return [found for line in whole.splitlines() if (found := parse(line))]


class StoreReader:
    """The same from the results store, for a campaign of another control node: what hosts do now is not known there."""

    def __init__(self, store: Store, record: CampaignRecord) -> None:
        self._store = store
        self._record = record
        self._begun = False
        self._blocks: set[str] = set()
        self._trials: set[str] = set()

    def news(self) -> list[Happened]:
        """Blocks and trials that were stored since the last call."""
        record, found = self._record, list[Happened]()
        blocks = self._store.blocks(record.id)
        if not self._begun:
            self._begun = True
            found.append(Happened(record.started_at, CampaignBegun(record.id, 0, record.trials_planned, 0, "")))
        tally = self._store.tallies(record.id).get(record.id)
        trials = self._store.trials(record.id) if tally and tally.trials > len(self._trials) else ()
        for block in blocks:
            if block.id not in self._blocks:
                at = min((one.started_at for one in trials if one.block_id == block.id), default=record.started_at)
                found.append(Happened(at, BlockBegun(block.number, block.host, block.stack, 0)))
        self._blocks |= {block.id for block in blocks}
        found += [Happened(one.ended_at, ended_trial(one)) for one in trials if one.id not in self._trials]
        self._trials |= {trial.id for trial in trials}
        return sorted(found, key=lambda happened: happened.at)


class Follower:
    """A campaign as seen from outside its controller."""

    def __init__(self, store: Store, record: CampaignRecord) -> None:
        self._store = store
        self._record = record
        self._here = folders.is_here(record.id)
        path = campaign_folder(record.id) / folders.EVENTS
        self._reader = EventReader(path) if self._here else StoreReader(store, record)
        self._alone_since: float | None = None

    @property
    def record(self) -> CampaignRecord:
        return self._record

    @property
    def plan(self) -> Plan | None:
        """None for a campaign of another control node or of another version of the harness."""
        with contextlib.suppress(UnavailableError):
            return folders.read(self._record.id).plan if self._here else None
        return None

    def news(self) -> list[Happened]:
        """What happened since the last call, or since the campaign's beginning."""
        return self._reader.news()

    def ended(self) -> str:
        """How the campaign ended or was stopped; "" while it runs. News that are asked for afterwards are the last."""
        self._record = self._store.campaign(self._record.id)
        status = status_now(self._record)
        if status == RUNNING:
            self._alone_since = None
            return ""
        if self._record.status == RUNNING and status == INTERRUPTED:
            now = time.monotonic()
            self._alone_since = self._alone_since or now
            if now - self._alone_since < _PATIENCE_SECONDS:
                return ""
        return status


def ended_trial(trial: TrialRecord) -> TrialEnded:
    """The event of a stored trial."""
    return TrialEnded(
        *(trial.id, trial.host, trial.stack, trial.workload, trial.status, trial.failure),
        *(trial.seconds, trial.overhead_seconds, sum(row.count for row in trial.exits)),
    )
