"""What the pages show, as plain values: the store's records, and where campaigns are now."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from threading import Lock

from starlette.exceptions import HTTPException

from harness.analysis.exits import exits_by_reason, exits_total
from harness.analysis.model import Comparison
from harness.campaign.documents import list_documents, status_document
from harness.campaign.follow import Follower
from harness.campaign.register import RUNNING, status_now
from harness.campaign.standing import Standing
from harness.report.html import render
from harness.report.source import comparison_of, report_input
from harness.results.model import CampaignRecord, Tally, TrialRecord
from harness.results.store import Store


@dataclass(frozen=True)
class LastTrial:
    """The last trial of a host: what its exits are like now."""

    trial: TrialRecord
    per_second: float
    most: tuple[tuple[str, float], ...]  # reasons with their share, the most frequent first


class Pages:
    """Reads for many requests at once. What takes long is kept until the campaign has another trial."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._drawing = Lock()  # figures take much of a core; a reader who reloads must not get several
        self._kept_trials = lru_cache(maxsize=8)(self._load_trials)
        self._kept_report = lru_cache(maxsize=16)(self._draw_report)

    def campaigns(self) -> list[dict[str, object]]:
        """All of them, the latest first."""
        return list_documents(self._store)

    def record(self, campaign_id: str) -> CampaignRecord:
        """By its full id. Raises HTTPException (404)."""
        for record in self._store.campaigns():
            if record.id == campaign_id:
                return record
        raise HTTPException(404, f"There is no campaign {campaign_id}.")

    def document(self, record: CampaignRecord, standing: Standing) -> dict[str, object]:
        """What `campaign status --json` prints, and what its hosts do now."""
        status = status_now(record)
        document = status_document(self._store, record, status, standing.plan)
        if status == RUNNING:
            document["hosts"] = {name: asdict(host) for name, host in standing.hosts.items()}
            document["seconds_left"] = standing.seconds_left(datetime.now(UTC))
        return document

    def standing(self, record: CampaignRecord) -> Standing:
        """Where the campaign is, by all that has happened in it."""
        follower = Follower(self._store, record)
        standing = Standing(follower.plan)
        for happened in follower.news():
            standing.take(happened)
        return standing

    def trials(self, record: CampaignRecord) -> tuple[TrialRecord, ...]:
        """In the order they were run."""
        return self._kept_trials(record.id, self._tally(record))

    def trial(self, record: CampaignRecord, trial_id: str) -> TrialRecord:
        """Raises HTTPException (404)."""
        found = self._store.trial(trial_id)
        if found is None or found.campaign_id != record.id:
            raise HTTPException(404, f"Campaign {record.id} has no trial {trial_id} yet.")
        return found

    def last_trials(self, record: CampaignRecord) -> dict[str, LastTrial]:
        """By host, the last trial that measured something."""
        last = {trial.host: trial for trial in self.trials(record) if trial.seconds}
        return {host: _last(trial) for host, trial in sorted(last.items())}

    def comparison(self, record: CampaignRecord, baseline: str | None) -> Comparison:
        """Raises InputError as `compare` does."""
        return comparison_of(self._store, record, baseline)

    def report(self, record: CampaignRecord, baseline: str | None) -> str:
        """The report's HTML, as it would be written now. Raises InputError as `compare` does."""
        with self._drawing:
            return self._kept_report(record, self._tally(record), baseline)

    def baselines(self, record: CampaignRecord) -> list[str]:
        """The stacks of its trials so far."""
        return list(dict.fromkeys(trial.stack for trial in self.trials(record)))

    def _tally(self, record: CampaignRecord) -> Tally:
        return self._store.tallies(record.id).get(record.id, Tally())

    def _load_trials(self, campaign_id: str, _tally: Tally) -> tuple[TrialRecord, ...]:
        return self._store.trials(campaign_id)

    def _draw_report(self, record: CampaignRecord, _tally: Tally, baseline: str | None) -> str:
        source = report_input(self._store, record, baseline)
        links = [("All campaigns", "/"), ("This campaign", f"/campaigns/{record.id}")]
        links += [
            (f"against {stack}", f"?baseline={stack}")
            for stack in self.baselines(record)
            if stack != source.comparison.baseline
        ]
        return render(source, source.artifacts, links)


def _last(trial: TrialRecord) -> LastTrial:
    total = exits_total(trial)
    most = exits_by_reason(trial).most_common(3)
    return LastTrial(trial, total / trial.seconds, tuple((reason, count / total) for reason, count in most if total))
