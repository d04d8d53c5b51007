"""A campaign as samples: the same figures for the exporter, which shows the latest, and for back-filling."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from harness.analysis.compare import compare
from harness.analysis.exits import exits_by_reason
from harness.campaign.register import CANCELLED, DONE, INTERRUPTED, RUNNING, status_now
from harness.campaign.spec import usual_baseline
from harness.errors import InputError
from harness.onhost.catalogue import Family, Metric
from harness.results.model import BlockRecord, CampaignRecord, Fingerprint, Note, NoteKind, Status, TrialRecord
from harness.results.store import Store
from harness.telemetry import catalogue as c

_STATES = (RUNNING, DONE, CANCELLED, INTERRUPTED)

Labels = tuple[str, ...]
Series = tuple[Metric, Labels]


@dataclass(frozen=True)
class Reading:
    """A metric's value from a moment on. `labels` are in the order of the metric's."""

    metric: Metric
    labels: Labels
    value: float
    at: datetime


@dataclass(frozen=True)
class Campaign:
    """A campaign with all that its history is made of."""

    record: CampaignRecord
    status: str
    blocks: tuple[BlockRecord, ...]
    trials: tuple[TrialRecord, ...]
    notes: tuple[Note, ...]
    fingerprints: tuple[Fingerprint, ...]

    @property
    def labels(self) -> Labels:
        return (self.record.id, self.record.name)


def load(store: Store, record: CampaignRecord) -> Campaign:
    """Raises StorageError."""
    return Campaign(
        record,
        status_now(record),
        store.blocks(record.id),
        store.trials(record.id),
        store.notes(record.id),
        store.fingerprints(record.id),
    )


def history(campaign: Campaign) -> list[Reading]:
    """All readings of a campaign in the order of their times.

    At its end all of them are said again, so that a look at that moment finds the whole campaign; but not results,
    each of which is one trial's.
    """
    found = [*_beginning(campaign), *_trials(campaign), *_boots(campaign), *_notes(campaign)]
    found.sort(key=lambda reading: reading.at)
    if campaign.record.ended_at is not None:
        end = max(campaign.record.ended_at, found[-1].at)
        again = latest(found).items()
        found += [
            Reading(*series, value, end) for series, value in again if series[0] not in (c.RESULT, c.CAMPAIGN_STATE)
        ]
    # Two things of one moment: what they came to is what counts, and Prometheus takes one value alone.
    return list({(each.metric, each.labels, each.at): each for each in [*found, *_end(campaign)]}.values())


def latest(readings: Iterable[Reading]) -> dict[Series, float]:
    """The last value of each series."""
    return {(reading.metric, reading.labels): reading.value for reading in readings}


def families(values: Iterable[tuple[Metric, Labels, float, float | None]]) -> list[Family]:
    """(metric, labels, value, Unix time or None for now), grouped by metric as exposition formats want it."""
    found: dict[str, Family] = {}
    for metric, labels, value, at in values:
        family = found.setdefault(metric.name, metric.family())
        family.add_metric(labels, value, timestamp=at)
    return list(found.values())


def _beginning(campaign: Campaign) -> Iterator[Reading]:
    record, at = campaign.record, campaign.record.started_at
    yield Reading(c.CAMPAIGN_INFO, (*campaign.labels, record.fidelity, record.revision), 1, at)
    yield Reading(c.CAMPAIGN_START, campaign.labels, at.timestamp(), at)
    yield Reading(c.PLANNED, campaign.labels, record.trials_planned, at)
    yield from _state(campaign, RUNNING, at)


def _end(campaign: Campaign) -> Iterator[Reading]:
    record = campaign.record
    if campaign.status == RUNNING:
        return
    moments = [record.started_at, *(trial.ended_at for trial in campaign.trials)]
    at = record.ended_at or max(moments)
    yield from _state(campaign, campaign.status, at)
    if record.ended_at is None:
        return
    yield Reading(c.CAMPAIGN_END, campaign.labels, at.timestamp(), at)
    if campaign.status == DONE:
        yield from _ratios(campaign, at)


def _state(campaign: Campaign, state: str, at: datetime) -> Iterator[Reading]:
    for each in _STATES:
        yield Reading(c.CAMPAIGN_STATE, (*campaign.labels, each), float(each == state), at)


def _trials(campaign: Campaign) -> Iterator[Reading]:
    sums: defaultdict[Series, float] = defaultdict(float)

    def add(metric: Metric, labels: Labels, value: float, at: datetime) -> Reading:
        sums[metric, labels] += value
        return Reading(metric, labels, sums[metric, labels], at)

    for trial in sorted(campaign.trials, key=lambda trial: trial.ended_at):
        at, place = trial.ended_at, (trial.host, trial.stack)
        for status in Status:  # both, so that there is a share of failures before the first
            one = float(status is trial.status)
            yield add(c.TRIALS, (*campaign.labels, *place, trial.workload, status), one, at)
        yield add(c.OVERHEAD, (*campaign.labels, *place), trial.overhead_seconds, at)
        if trial.status is not Status.OK:
            continue
        phase = (*campaign.labels, trial.fidelity, *place, trial.workload)
        yield add(c.MEASURED, phase, trial.seconds, at)
        for reason, count in exits_by_reason(trial).items():
            yield add(c.TRIAL_EXITS, (*phase, reason), count, at)
        for metric in trial.metrics:
            labels = (*phase, metric.name, metric.unit, metric.direction)
            yield Reading(c.RESULT, labels, metric.value, at)


def _boots(campaign: Campaign) -> Iterator[Reading]:
    """A boot is told with the first trial after it: blocks themselves keep no time."""
    first: dict[str, datetime] = {}
    for trial in campaign.trials:
        first[trial.block_id] = min(trial.ended_at, first.get(trial.block_id, trial.ended_at))
    boots: defaultdict[Labels, int] = defaultdict(int)
    seconds: defaultdict[Labels, float] = defaultdict(float)
    up = [block for block in campaign.blocks if block.boot_id and block.id in first]
    for block in sorted(up, key=lambda block: first[block.id]):
        labels = (*campaign.labels, block.host, block.stack)
        boots[labels] += 1
        seconds[labels] += block.ready_seconds
        yield Reading(c.BOOTS, labels, boots[labels], first[block.id])
        yield Reading(c.BOOT_SECONDS, labels, seconds[labels], first[block.id])


def _notes(campaign: Campaign) -> Iterator[Reading]:
    counts: defaultdict[NoteKind, int] = defaultdict(int)
    disagreements = 0
    for note in campaign.notes:
        counts[note.kind] += 1
        if note.kind is NoteKind.PROMETHEUS:
            disagreements += len(note.text.splitlines())
            yield Reading(c.COMPARED, campaign.labels, counts[note.kind], note.at)
            yield Reading(c.DISAGREEMENTS, campaign.labels, disagreements, note.at)
            continue
        yield Reading(c.NOTES, (*campaign.labels, note.kind), counts[note.kind], note.at)
        if note.kind is NoteKind.QUARANTINED:
            yield Reading(c.QUARANTINED, (*campaign.labels, note.subject), note.at.timestamp(), note.at)


def _ratios(campaign: Campaign, at: datetime) -> Iterator[Reading]:
    record = campaign.record
    try:
        baseline = usual_baseline(record.spec_text, {trial.stack for trial in campaign.trials})
        found = compare(campaign.trials, baseline, seed=record.seed)
    except InputError:
        return  # no trial, or none of the baseline: there is nothing to compare with
    for row in found.metrics:
        for contrast in row.contrasts:
            if contrast.effect is None:
                continue
            place = (*campaign.labels, record.fidelity, row.workload, row.metric, row.direction)
            bounds = {"estimate": contrast.effect.ratio, "low": contrast.effect.low, "high": contrast.effect.high}
            for bound, value in bounds.items():
                if value is not None:
                    yield Reading(c.RATIO, (*place, contrast.stack, found.baseline, bound), value, at)
